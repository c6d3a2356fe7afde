"""One video, many segments, one video: cut by frames, worked on apart, joined without a lost or shifted frame.

Before:  ``survey_video`` (saved for the segments), ``plan_segments``, ``output_clock``
A part:  ``SegmentReader`` for its frames, ``SegmentEncoder`` or ``FramePipe`` for its file, ``verify_segment``
After:   ``choose_container``, ``join_segments``, ``verify_joined``

A segment's file has times of its own, from 0; the join gives each frame the time that the source's clock has for it.
"""
