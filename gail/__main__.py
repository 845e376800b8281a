"""``python -m gail``."""

import sys

from gail.cli.main import main

sys.exit(main())
