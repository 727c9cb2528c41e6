"""Write the metric table of the docs: `python -m modules.loggers > docs/metrics.md`."""

import sys

from modules.loggers.metrics import markdown

sys.stdout.write(markdown())
