"""Systems named in the literature, and our own, one file each, built only from the rooms below."""

from synthon.systems.quote_first import Answer, Reply, ask_folder, quote_first

__all__ = ["Answer", "Reply", "ask_folder", "quote_first"]
