# The jobs of dynalake: compact, refresh, verify, backfill, redrive. (The Lambda functions are zips: make package.)
#
#   docker build -t dynalake .
#   docker run --rm -e DYNALAKE_LAKE=s3://my-bucket/lake -e AWS_DEFAULT_REGION=eu-central-1 dynalake compact orders
#
# tests/extra/test_dockerfile.py takes these steps without an engine, as far as that goes: it copies, installs, and runs
# what was installed. What it cannot prove: that the base image is there and holds what its name says, and the step that
# makes the user. Of the base image only Python is used. To pin it, give the tag its digest: …@sha256:…

ARG PYTHON_TAG=3.11-slim-bookworm

FROM python:${PYTHON_TAG} AS build
WORKDIR /src
# What comes along, .dockerignore says.
COPY . .
# Wheels alone, so that no compiler is needed; a package without one stops the build.
RUN python -m venv --without-pip /opt/dynalake \
 && python -m pip --python /opt/dynalake/bin/python install --no-cache-dir --only-binary=:all: -c constraints.txt .

FROM python:${PYTHON_TAG}
LABEL org.opencontainers.image.title="dynalake" \
      org.opencontainers.image.description="The jobs: an exact change log and current state of DynamoDB tables" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/dynalake /opt/dynalake
# Nothing is installed from here on.
RUN python -m pip uninstall --yes --quiet setuptools wheel pip
# The one folder that jobs write to. It belongs to their user before it is made a volume, so that a volume that ECS
# mounts there does too (AWS: "Use bind mounts with Amazon ECS"), and the rest of the file system can be read-only.
RUN useradd --uid 10001 --user-group --no-create-home --home-dir /scratch --shell /usr/sbin/nologin dynalake \
 && install --directory --owner dynalake --group dynalake --mode 0700 /scratch
VOLUME ["/scratch"]
ENV PATH=/opt/dynalake/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/scratch \
    TMPDIR=/scratch
WORKDIR /scratch
USER 10001:10001
ENTRYPOINT ["dynalake"]
CMD ["--help"]
