"""The raw family `table`: a spec's layout describes tables, arrays and JSON files, so that public sets and
own files need no code. docs/own-data.md is its manual."""

from amr_data.readers.table.family import TableFamily, TableOptions
from amr_data.readers.table.layout import Layout

__all__ = ["Layout", "TableFamily", "TableOptions"]
