"""A tour of what a lake answers, as a marimo notebook: `marimo edit examples/orders.py`, or run it as a script.

It needs `pip install "dynalake[notebook]"` and nothing else: it makes a small lake of its own, with a table `shop`. For
the demo's lake (`make demo`) put `dynalake.connect("demo-lake")` in its place; the table there is `airline`.
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="dynalake: orders")

with app.setup:
    import random
    import tempfile
    from html import escape
    from pathlib import Path

    import marimo as mo

    import dynalake
    import standin

    START_US = 1_767_225_600_000_000  # the first of January 2026
    HOUR_US = 3_600_000_000


@app.cell(hide_code=True)
def _():
    mo.md("""
    # From a DynamoDB table to answers

    The table `shop` is a single-table design: `CUSTOMER#…`, `META` is a customer, `CUSTOMER#…`, `ORDER#…` an order of
    theirs. A stand-in of AWS plays three days of writes, and delivers them as Kinesis and Firehose do: some twice, some
    late. `compact` makes the change log of them, `refresh` the current state.
    """)
    return


@app.function
def make_history():
    """Three days of a shop: orders are placed, paid, and shipped or cancelled."""
    chance = random.Random(2026)
    table = standin.Table("shop")
    for customer in range(12):
        keys = {"pk": {"S": f"CUSTOMER#{customer}"}, "sk": {"S": "META"}}
        table.put(
            keys | {"name": {"S": f"Customer {customer}"}, "vip": {"BOOL": customer % 4 == 0}}, START_US + customer
        )
    writes = []
    for number in range(90):
        placed_us = START_US + 1_000_000 + number * (60 * HOUR_US // 90)
        customer = chance.randrange(12)
        order = {
            "pk": {"S": f"CUSTOMER#{customer}"},
            "sk": {"S": f"ORDER#{number:04}"},
            "total": {"N": f"{chance.randrange(500, 20_000) / 100:.2f}"},
        }
        at_us = placed_us
        for status in ("placed", "paid", chance.choice(["shipped", "shipped", "shipped", "cancelled"])):
            writes.append((at_us, number, order | {"status": {"S": status}}))
            at_us += chance.randrange(HOUR_US // 2, 10 * HOUR_US)
    for at_us, _, item in sorted(writes, key=lambda write: write[:2]):
        table.put(item, at_us)
    return table


@app.function
def make_lake(folder, history):
    """What the commands init, add-table, compact and refresh do, with what the stream brought in between."""
    from compaction.compact import compact
    from compaction.refresh import refresh
    from compaction.settings import Settings
    from lake.conditions import parse_condition
    from lake.config import TableConfig
    from lake.entities import Entity
    from lake.keys import KeyAttribute, KeySchema
    from lake.lake import add_table, create_lake
    from lake.store import put

    entities = (
        Entity("order", parse_condition("sk begins_with 'ORDER#'", "order")),
        Entity("customer", parse_condition("sk = 'META'", "customer")),
    )
    keys = KeySchema(KeyAttribute("pk", "S"), KeyAttribute("sk", "S"))
    lake = add_table(create_lake(folder), TableConfig("", "shop", keys, buckets=2, entities=entities))
    table = lake.config.table("shop")
    settings = Settings(history.changes[-1].at_us + HOUR_US, memory_mb=1024)
    faults = standin.Faults(duplicates=0.05, disorder=0.05)
    records = standin.kds_records(history, seed=1, faults=faults)
    for n, some in enumerate((records[: len(records) // 2], records[len(records) // 2 :])):
        put(f"{lake.raw}/{n}.json", b"\n".join(record.data for record in some))
        compact(lake, table, settings)
        if n == 0:
            refresh(lake, table, settings)  # the second half stays in the log's tail, and queries see it
    return lake


@app.cell
def _():
    folder = Path(tempfile.mkdtemp(prefix="dynalake-example-")) / "lake"
    history = make_history()
    make_lake(folder, history)
    con = dynalake.connect(folder)
    mo.md(f"`dynalake.connect(folder)` pinned one version of the lake. Its views: `{'`, `'.join(con.views)}`")
    return con, folder, history


@app.cell
def _(con):
    mo.vstack([
        mo.md("## Current rows, with types\n\n`shop` is fresh: the state as of `refresh`, and the log's tail."),
        con.sql("SELECT sk, status, total, pk FROM shop WHERE sk LIKE 'ORDER#%' ORDER BY total DESC LIMIT 5").df(),
    ])  # fmt: skip
    return


@app.cell
def _():
    hours = mo.ui.slider(6, 72, step=6, value=24, label="hours after New Year")
    return (hours,)


@app.cell
def _(con, hours):
    as_of = con.sql(
        """SELECT status, count(*) AS orders, sum(total) AS total
        FROM shop_as_of(TIMESTAMP '2026-01-01' + to_hours(?)) WHERE sk LIKE 'ORDER#%'
        GROUP BY status ORDER BY status""",
        params=[hours.value],
    ).df()
    mo.vstack([mo.md("## As of any instant\n\nMove the slider: every state that ever was."), hours, as_of])
    return (as_of,)


@app.cell
def _(con):
    mo.vstack([
        mo.md("## The history of one order\n\nThe key's values, and every change of the item in its order."),
        con.sql(
            """SELECT event_time, op, new_image ->> '$.status.S' AS status, is_late FROM shop_history(
              (SELECT pk FROM shop WHERE sk = 'ORDER#0007'), 'ORDER#0007')"""
        ).df(),
    ])  # fmt: skip
    return


@app.cell
def _(con):
    waits = con.sql(
        """SELECT from_value, to_value, count(*) AS orders, median(lasted) AS median_wait
        FROM shop_transitions('status') WHERE from_value IS NOT NULL GROUP BY ALL ORDER BY orders DESC"""
    ).df()
    mo.vstack(
        [mo.md("## Transitions of an attribute\n\nHow long does an order wait before it is paid, and sent?"), waits]
    )
    return (waits,)


@app.cell
def _(con):
    mo.vstack([
        mo.md("## What differs between two instants?"),
        con.sql(
            """SELECT difference, changed_attributes, count(*) AS items
            FROM shop_diff('2026-01-02', '2026-01-02 12:00') GROUP BY ALL ORDER BY items DESC"""
        ).df(),
    ])  # fmt: skip
    return


@app.cell
def _(con):
    # An entity of lake.toml is a view of its own: the rows that match, with their own columns only.
    orders = "shop_order" if "shop_order" in con.views else "(SELECT * FROM shop WHERE sk LIKE 'ORDER#%')"
    revenue = con.sql(
        f"""SELECT c.name, c.vip, sum(o.total) AS revenue FROM {orders} o JOIN shop c ON c.pk = o.pk AND c.sk = 'META'
        WHERE o.status = 'shipped' GROUP BY ALL ORDER BY revenue DESC"""
    ).df()
    return orders, revenue


@app.function
def bars(labels, values):
    """A bar chart of HTML alone."""
    most = max(values, default=1)
    rows = [
        f"<tr><td>{escape(str(label))}</td><td style='width:24em'>"
        f"<div style='background:#4c78a8;color:#fff;width:{100 * float(value) / float(most):.1f}%'>"
        f"{value:,.2f}</div></td></tr>"
        for label, value in zip(labels, values, strict=True)
    ]
    return mo.Html(f"<table>{''.join(rows)}</table>")


@app.cell
def _(revenue):
    mo.vstack([
        mo.md("## Entities, joined and drawn\n\nRevenue of shipped orders: `shop_order` joined with `shop`."),
        bars(revenue["name"], revenue["revenue"]),
    ])  # fmt: skip
    return


@app.cell
def _(con, orders):
    relation = con.sql(f"SELECT status, total FROM {orders}")
    pandas_frame, polars_frame, arrow_table = relation.df(), relation.pl(), relation.to_arrow_table()
    by_status = polars_frame.group_by("status").len().sort("status")
    mo.vstack([
        mo.md("## To pandas, Polars and Arrow\n\n`.df()`, `.pl()`, `.to_arrow_table()`; the last two keep all digits."),
        by_status,
        mo.md(f"`{arrow_table.schema.field('total')}` in Arrow"),
    ])  # fmt: skip
    return arrow_table, by_status, pandas_frame


@app.cell
def _(con):
    from queries.pack import read_query, title

    mo.vstack([
        mo.md(f"## Ready queries\n\n`dynalake sql --query duplicates --table shop`: {title('duplicates')}"),
        con.sql(read_query("duplicates", "shop")).df(),
    ])  # fmt: skip
    return


@app.cell
def _(pandas_frame, revenue):
    print(f"orders: {len(pandas_frame)}, revenue: {revenue['revenue'].sum():.2f}")
    return


if __name__ == "__main__":
    app.run()
