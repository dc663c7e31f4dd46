"""What operators call: `region`, and the setting-up of servers that every deployment shares."""
