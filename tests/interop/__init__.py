"""Tests in which real SIP phones, browsers and load tools have the last word."""
