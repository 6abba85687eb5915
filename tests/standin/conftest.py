"""The stand-in's own fixture; only a project's topmost conftest may name it in ``pytest_plugins``."""

from standin.fixtures import aws

__all__ = ["aws"]
