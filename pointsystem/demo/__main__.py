"""The demo's own process: it has the settings of the stack that `manage.py demo` started around it.

Usage: python -m pointsystem.demo --url URL --report-dir DIR --clients N [--orders N]. Ends with 0 when every
proof holds, 1 when not.
"""

import argparse
import os
import sys
from pathlib import Path

import django


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m pointsystem.demo")
    parser.add_argument("--url", required=True)
    parser.add_argument("--report-dir", type=Path, required=True)
    parser.add_argument("--clients", type=int, required=True)
    parser.add_argument("--orders", type=int)
    arguments = parser.parse_args()
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "pointsystem.settings")
    django.setup()
    from pointsystem.demo.run import run

    return run(
        base_url=arguments.url,
        report_dir=arguments.report_dir,
        callers=arguments.clients,
        orders_limit=arguments.orders,
    )


if __name__ == "__main__":
    sys.exit(main())
