"""The control store: keys, teams, users, usage and audit at run time. Nothing in it is imported without `control` in the configuration."""

from importlib.util import find_spec


def lacking() -> str:
    """What the extra `control` lacks to be used; "" when all of it is installed."""
    for package in ("sqlalchemy", "alembic", "aiosqlite", "authlib", "psycopg"):
        if find_spec(package) is None:
            return f"control needs the package {package}: pip install 'dragoman[control]'"
    return ""
