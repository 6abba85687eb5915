"""A page of a report as a reader has it: its elements, figures and rows."""

from __future__ import annotations

from dataclasses import dataclass, field
from html.parser import HTMLParser

VOID = {"meta", "link", "br", "img", "input", "hr"}


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def all(self, tag: str | None = None, **attributes: str) -> list[Element]:
        """Those within, in their order; an attribute `data_x` is `data-x`, of any value where it is empty."""
        found = []
        for child in self.children:
            wanted = {name.replace("_", "-"): value for name, value in attributes.items()}
            has = all(n in child.attributes and v in ("", child.attributes[n]) for n, v in wanted.items())
            if tag in (None, child.tag) and has:
                found.append(child)
            found += child.all(tag, **attributes)
        return found

    @property
    def text(self) -> str:
        """What is read, with single spaces."""
        return " ".join(" ".join(self._pieces()).split())

    def _pieces(self) -> list[str]:
        return self.texts + [piece for child in self.children for piece in child._pieces()]

    def facts(self) -> dict[str, int | None]:
        """The figures by their names. One that is there twice must be the same."""
        found: dict[str, int | None] = {}
        for one in self.all("span", data_fact=""):
            name, value = one.attributes["data-fact"], one.attributes["data-value"]
            number = int(value) if value else None
            assert found.setdefault(name, number) == number, name
        return found

    def rows(self, name: str, attribute: str = "data_rows") -> dict[str, list[str]]:
        """The texts of a table's cells by its rows' headings."""
        (table,) = self.all("table", **{attribute: name})
        (body,) = table.all("tbody")
        return {row.all("th")[0].text: [cell.text for cell in row.all("td")] for row in body.all("tr")}

    def numbers(self, series: str) -> dict[str, list[int]]:
        """A series by its kinds."""
        found: dict[str, list[int]] = {}
        (table,) = self.all("table", data_series=series)
        for cell in table.all("td"):
            found.setdefault(cell.attributes["data-kind"], []).append(number(cell.text))
        return found


def number(text: str) -> int:
    return int(text.replace(",", ""))


class _Parser(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.root = Element("", {})
        self.open = [self.root]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.open[-1].children.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open[-1].children.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self.open[-1].tag == tag, f"</{tag}> closes <{self.open[-1].tag}>"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        self.open[-1].texts.append(data)


def parse_page(text: str) -> Element:
    """The page; one whose elements do not close as they open fails."""
    parser = _Parser()
    parser.feed(text)
    parser.close()
    assert [one.tag for one in parser.open] == [""]
    ids = [one.attributes["id"] for one in parser.root.all(id="")]
    assert len(ids) == len(set(ids))
    targets = {one.attributes["href"][1:] for one in parser.root.all("a", href="")}
    assert targets <= set(ids)
    return parser.root


def section(page: Element, table: str) -> Element:
    (found,) = page.all("section", data_table=table)
    return found
