"""`Files` on GridFS, bucket `files`: attachments, PDFs and DICOM outputs, in the consult database (decision 0008)."""

from collections.abc import AsyncIterator
from typing import Any

from gridfs.asynchronous import AsyncGridFSBucket
from gridfs.errors import NoFile
from pymongo.asynchronous.database import AsyncDatabase

CHUNK_BYTES = 255 * 1024


class GridFiles:
    """Files by id, in chunks."""

    def __init__(self, database: AsyncDatabase[dict[str, Any]]) -> None:
        self._bucket = AsyncGridFSBucket(database, bucket_name="files", chunk_size_bytes=CHUNK_BYTES)

    async def put(self, file_id: str, consult_id: str, name: str, chunks: AsyncIterator[bytes]) -> None:
        """See `Files.put`."""
        stream = self._bucket.open_upload_stream_with_id(file_id, name, metadata={"consult_id": consult_id})
        try:
            async for chunk in chunks:
                await stream.write(chunk)
        except BaseException:
            await stream.abort()
            raise
        await stream.close()

    async def get(self, file_id: str) -> AsyncIterator[bytes] | None:
        """See `Files.get`."""
        try:
            stream = await self._bucket.open_download_stream(file_id)
        except NoFile:
            return None

        async def chunks() -> AsyncIterator[bytes]:
            while chunk := await stream.readchunk():
                yield chunk

        return chunks()

    async def delete(self, file_id: str) -> None:
        """See `Files.delete`."""
        try:
            await self._bucket.delete(file_id)
        except NoFile:
            return
