"""The documentation as a site, built of the Markdown files by Sphinx: `make site`. Why so: docs/decisions/0048."""
