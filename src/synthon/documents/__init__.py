"""Read files and cut them into passages."""

from synthon.documents.chunks import Chunk, Form, cut
from synthon.documents.files import Content, content, read, walk
from synthon.documents.parsing import Parsed, ParseError, Parser
from synthon.documents.sentences import sentences

__all__ = ["Chunk", "Content", "Form", "ParseError", "Parsed", "Parser", "content", "cut", "read", "sentences", "walk"]
