"""Makes `titles.tsv.gz` of ICD-10-CM's tabular list: `python -m consult.icd10.convert <tabular.xml> <titles.tsv.gz>`.

The tabular list is made by the US National Center for Health Statistics (CDC) and CMS, in the public domain. Only
codes of three and four characters are kept: those are the same, but for few, in the WHO's ICD-10 and in GB/T 14396.
"""

import gzip
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

LONGEST = len("A00.0")
HEADER = (
    "# ICD-10-CM, April 2026 (NCHS/CDC and CMS, United States): public domain. Codes of 3 and 4 characters; by "
    "consult.icd10.convert.\n"
)


def titles(tabular: ElementTree.Element) -> Iterator[tuple[str, str]]:
    """Codes and titles, in the order of the book."""
    for diagnosis in tabular.iter("diag"):
        code, title = diagnosis.findtext("name", ""), diagnosis.findtext("desc", "")
        if code and len(code) <= LONGEST:
            yield code, " ".join(title.split())


def main(source: Path, target: Path) -> None:
    """Read the XML, write the list; the same input gives the same bytes."""
    lines = "".join(f"{code}\t{title}\n" for code, title in titles(ElementTree.parse(source).getroot()))  # noqa: S314 - a file its caller chose
    target.write_bytes(gzip.compress((HEADER + lines).encode(), 9, mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
