"""`python -m crm_assets`: the command line."""

from __future__ import annotations

from crm_assets.cli import main

if __name__ == "__main__":
    main()
