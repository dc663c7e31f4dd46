"""Backup and restore of a region: MongoDB, the object store and what Kafka knows, encrypted with age.

A backup is a folder (or a prefix in an S3 store) that several backups share:

    objects/<2 digits>/<digest>.age    an object of the store, once for all backups; `.json` beside it proves it
    <backup id>/mongodb/…  kafka/…     of one backup, zstd-compressed and encrypted
    <backup id>/manifest.json          counts and digests, written last: without it the backup is unfinished

Names and the manifest hold no personal data: keys of objects, which name studies, are digests outside and lie encrypted
in `<backup id>/objects.jsonl`. To write a backup public keys are enough; only restoring needs a private one.
"""
