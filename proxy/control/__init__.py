"""The control store: keys, teams, users, usage and audit at run time. Nothing here is imported without `control` in the configuration."""

import logging

logging.getLogger("alembic").setLevel(logging.WARNING)  # before it is imported: it says a lot then
