"""Which words are addresses of buckets, what of them may not be written down, and what S3 lists."""

import pytest

from casemate.core.blobs.client import pages
from casemate.core.buckets import holds_credentials, is_bucket, parted


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("s3://b/k", True),
        ("s3:b/k", False),
        ("b/s3://k", False),
        (["s3://b/k"], False),
        (None, False),
    ],
)
def test_an_address_of_a_bucket_is_told_from_files_lists_and_nothing(word, found):
    assert is_bucket(word) is found


@pytest.mark.parametrize(
    ("address", "found"),
    [("s3://b/k/l.csv", ("b", "k/l.csv")), ("s3://b/", ("b", "")), ("s3://b", ("b", ""))],
)
def test_a_key_begins_behind_the_bucket_and_may_be_nothing(address, found):
    assert parted(address) == found


@pytest.mark.parametrize(
    ("word", "found"),
    [
        ("s3://me:word@b/k", True),
        ("s3://me@b", True),
        ("s3://b/me@k", False),
        ("folder/me@b", False),
        ("postgresql://me:word@host/b", False),
    ],
)
def test_credentials_are_seen_before_a_bucket_s_name_and_nowhere_else(word, found):
    assert holds_credentials(word) is found


def test_a_listing_goes_on_until_s3_says_that_it_ends():
    heard = []
    answers = iter(
        [
            {"Contents": [{"Key": "p/a"}], "IsTruncated": True, "NextContinuationToken": "next"},
            {"IsTruncated": True, "NextContinuationToken": "last"},
            {"Contents": [{"Key": "p/b"}], "IsTruncated": False},
        ]
    )

    def ask(*words, **more):
        heard.append((*words, more))
        return next(answers)

    assert [*pages(ask, "p/")] == [[{"Key": "p/a"}], [], [{"Key": "p/b"}]]
    assert heard == [
        ("list_objects_v2", {"Prefix": "p/", **more})
        for more in ({}, {"ContinuationToken": "next"}, {"ContinuationToken": "last"})
    ]
