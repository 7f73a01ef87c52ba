"""Find passages.

`Index` keeps documents in one SQLite file and finds their passages by words (BM25), by meaning (vectors) or by both.
"""

from synthon.retrieval.documents import Added, Document, Failed
from synthon.retrieval.index import Index

__all__ = ["Added", "Document", "Failed", "Index"]
