"""An index of batches by time: those that need not be remembered any more are found without reading all."""

from __future__ import annotations

from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_index("dragoman_batches_time", "dragoman_batches", ["time"])


def downgrade() -> None:
    op.drop_index("dragoman_batches_time", "dragoman_batches")
