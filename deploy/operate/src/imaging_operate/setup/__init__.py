"""Setting up the servers of a region: topics, permissions, users, databases' rights, buckets, the realm.

Every part may run again at any time: what is there stays, what is missing is made, and users get the password that is
given (so that a rotated one comes into force). The local region, Compose and the Helm chart all call this.
"""
