"""Pages at the root of the repository are pages of the site too, with their links turned."""

from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
    "CHANGELOG.md": "CHANGELOG.md",
}
FOLDERS = {
    "](docs/how-to/)": "](how-to/own-table.md)",
    "](docs/reference/)": "](reference/commands.md)",
}
"""The site has no listing of a folder."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add them; called by mkdocs."""
    root = Path(config.docs_dir).parent
    for name, target in PAGES.items():
        text = (root / name).read_text(encoding="utf-8")
        for folder, page in FOLDERS.items():
            text = text.replace(folder, page)
        files.append(File.generated(config, target, content=text.replace("](docs/", "](")))
    return files
