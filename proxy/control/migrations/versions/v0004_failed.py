"""The index of failed requests is of those that are counted as errors: not where the caller left, but where an answer broke off."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    failed = sa.text("status <> 499 AND (status >= 400 OR error <> '')")
    op.drop_index("dragoman_usage_failed", "dragoman_usage")
    op.create_index("dragoman_usage_failed", "dragoman_usage", ["time"], postgresql_where=failed, sqlite_where=failed)


def downgrade() -> None:
    raise NotImplementedError("an older version would search along this index for other requests")
