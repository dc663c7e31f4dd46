"""What people are told outside the portal: e-mail and text messages, when the portal's bell was not seen in time."""
