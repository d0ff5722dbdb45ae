"""Where media is decoded and encoded: announcements now, recording and snapshots later."""
