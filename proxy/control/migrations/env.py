"""What Alembic runs: the versions, on the connection that migrate.py opened."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], version_table="dragoman_control_version", transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
