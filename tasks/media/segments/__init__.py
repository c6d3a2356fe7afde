"""Split a video into segments by frames, process them separately, and join them without losing or shifting a frame.

Before:  ``survey_video`` (saved for the segments), ``plan_segments``, ``build_clock``
Segment: ``SegmentReader`` for its frames, ``SegmentEncoder`` or ``FramePipe`` for its file, ``verify_segment``
After:   ``choose_container``, ``join_segments``, ``verify_joined``

The times in a segment file start at 0; the join sets the time of each frame from the source's clock.
"""
