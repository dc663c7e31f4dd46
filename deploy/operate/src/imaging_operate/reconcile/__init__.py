"""What is missing between edge agents' announcements, index, archive and events, and how it is fetched or made anew."""
