"""Find passages.

`Index` keeps documents in one SQLite file and finds their passages by words (BM25), by meaning (vectors) or by both;
a `Reranker` judges the first of them again.
"""

from synthon.retrieval.documents import Added, Document, Failed
from synthon.retrieval.index import Index
from synthon.retrieval.nearest import Examples, nearest
from synthon.retrieval.reranking import ModelReranker, Reranker, cross_encoder

__all__ = ["Added", "Document", "Examples", "Failed", "Index", "ModelReranker", "Reranker", "cross_encoder", "nearest"]
