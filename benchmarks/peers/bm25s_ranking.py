"""Ranks documents with the `bm25s` package; run by `benchmarks.retrieval` in an environment of its own.

Reads {"texts": [...], "queries": [...], "k": n} from stdin, writes {"rows": [[row, ..], ..], "version": ..} to stdout.
"""

import importlib.metadata
import json
import sys

import bm25s
import Stemmer

asked = json.load(sys.stdin)
stemmer = Stemmer.Stemmer("english")
engine = bm25s.BM25(k1=0.9, b=0.4)
engine.index(bm25s.tokenize(asked["texts"], stemmer=stemmer, show_progress=False), show_progress=False)
queries = bm25s.tokenize(asked["queries"], stemmer=stemmer, show_progress=False)
rows = engine.retrieve(queries, k=min(asked["k"], len(asked["texts"])), show_progress=False).documents
json.dump({"rows": rows.tolist(), "version": importlib.metadata.version("bm25s")}, sys.stdout)
