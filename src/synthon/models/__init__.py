"""Answer a request; wrap models; embed text."""
