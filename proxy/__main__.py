"""`python -m dragoman.proxy` is the command `dragoman`."""

import sys

from .cli import main

sys.exit(main())
