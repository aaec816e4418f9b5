"""PDF: the page to print, set in pages by WeasyPrint in a process of its own. Needs the extra `[pdf]` and Pango.

Run as a program it reads HTML from stdin and writes the PDF to stdout: content passes through pipes alone, never through
a file or an argument, and whatever the library does, it does not do in the node. It may fetch nothing: every address is
refused, those of files included.
"""

import importlib.util
import sys
from typing import Any, NoReturn

from bridge.formats import html_
from bridge.formats.form import Format


def _installed() -> bool:
    return importlib.util.find_spec("weasyprint") is not None


def _fetch(_url: str, *_more: Any, **_options: Any) -> NoReturn:
    raise ValueError("nothing is fetched")


def main() -> int:
    """HTML in, PDF out."""
    import weasyprint

    page = sys.stdin.buffer.read().decode()
    document = weasyprint.HTML(string=page, url_fetcher=_fetch)
    made = document.write_pdf(pdf_variant="pdf/ua-1")
    sys.stdout.buffer.write(made or b"")
    return 0 if made else 1


FORMAT = Format(
    "pdf", "Page to print (PDF)", "application/pdf", "pdf", html_.render, html_.table, extra="pdf", apart="bridge.formats.pdf",
    ready=_installed,
)  # fmt: skip

if __name__ == "__main__":
    sys.exit(main())
