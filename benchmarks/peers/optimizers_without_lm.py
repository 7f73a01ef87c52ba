"""Labels without a language model, from TF-IDF of words and word pairs; run by `benchmarks.optimizers`.

Reads {"train": [[text, label], ..], "validation": the same, "test": [text, ..], "k": neighbours tried}. Writes
{"tfidf_knn": [label, ..], "logistic_regression": [label, ..], "k": the k that did best on the validation rows,
"version"}. The neighbours vote with their similarity; both learn from the training rows alone.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from typing import Any

import numpy as np
import sklearn
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

asked: dict[str, Any] = json.load(sys.stdin)
texts, labels = zip(*asked["train"], strict=True)
words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
train = words.fit_transform(texts)


def voted(some: list[str], k: int) -> list[str]:
    near = (words.transform(some) @ train.T).toarray()
    found = []
    for row in near:
        votes: defaultdict[str, float] = defaultdict(float)
        for place in np.argsort(-row, kind="stable")[:k]:
            votes[labels[place]] += float(row[place]) + 1e-9
        found.append(max(votes, key=lambda label: votes[label]))
    return found


known, wanted = zip(*asked["validation"], strict=True)
k = max(asked["k"], key=lambda k: sum(a == b for a, b in zip(voted(list(known), k), wanted, strict=True)))
regression = LogisticRegression(C=10.0, max_iter=2000).fit(train, labels)
json.dump(
    {
        "tfidf_knn": voted(asked["test"], k),
        "logistic_regression": regression.predict(words.transform(asked["test"])).tolist(),
        "k": k,
        "version": sklearn.__version__,
    },
    sys.stdout,
)
