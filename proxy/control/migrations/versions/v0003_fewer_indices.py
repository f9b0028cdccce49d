"""Without the index of requests by key and model: of all that writes usage, it cost the most, and a search among a key's requests does."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.drop_index("dragoman_usage_key_model", "dragoman_usage")


def downgrade() -> None:
    op.create_index("dragoman_usage_key_model", "dragoman_usage", ["key_name", "model", "time"])
