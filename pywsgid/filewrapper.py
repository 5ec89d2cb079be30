"""wsgi.file_wrapper: a file as a response. For now its blocks go through Python; the FILE frame that passes the
descriptor itself has its place in response.py.
"""

BLOCK_SIZE = 64 * 1024


class FileWrapper:
    """Iterates over a file-like object in blocks; close() closes it if it can be closed (PEP 3333, "Optional
    Platform-Specific File Handling")."""

    def __init__(self, filelike, block_size=BLOCK_SIZE):
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self):
        return self

    def __next__(self):
        block = self.filelike.read(self.block_size)
        if not block:
            raise StopIteration
        return block
