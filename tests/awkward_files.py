"""What becomes of each file of ../shared/data/awkward, as its manifests imply: what fails, and what a row rejects."""

__all__ = ["CONTENT", "FAILS", "REJECTED"]

# Files that become a per-clip failure, by code. The manifest calls them: open_error, no video stream among `streams`,
# 0 `pyav_frames`, or one frame, of which no trajectory can be made.
FAILS: dict[str, str] = {
    "anim.webp": "zero_frames",
    "audio_only.mp4": "no_video_stream",
    "ft_header_only.mp4": "not_a_video",
    "m4p_chunk_out_of_range.mp4": "not_a_video",
    "m4p_rotation90_1frame.mp4": "too_few_frames",
    "mp_bitmap_1x1.mp4": "too_small",
    "mp_zero_byte.webm": "empty_file",
    "one_frame.mp4": "too_few_frames",
    "seq_mixed_sizes": "mixed_sizes",
    "tc_audio_only.mp3": "no_video_stream",
    "text.mp4": "not_a_video",
    "wm_bad_lacing.mkv": "zero_frames",
    "zero.mp4": "empty_file",
}

# Files whose manifest names a defect: default rows that must reject them. Everything else of the derived files is one
# sound clip in another wrapping, and passes.
REJECTED: dict[str, set[str]] = {
    "ax_invalid_nalu.mp4": {"corrupt_share"},
    "ax_slowmo.mp4": {"play_speed", "frame_rate_jitter", "time_gap"},
    "black.mp4": {"blank_share", "frozen_s", "luminance"},
    "decord_corrupted.mp4": {"corrupt_share"},
    "flash_exposure.mp4": {"exposure_jump"},
    "hard_cut.mp4": {"hard_cut", "exposure_jump"},
    "letterbox.mp4": {"letterbox_share"},
    "trunc_faststart.mp4": {"corrupt_share"},
    "vfr_dropped.mp4": {"frame_rate_jitter"},
}

# Real files that are there for their container: what they show decides, and was looked at. Edited films with cuts and
# drawn frames held, fades from and to black, a caption on a flat ground; the others pass, so does a still sky.
CONTENT: dict[str, set[str]] = {
    "ax_firstpts_10s.mp4": {"hard_cut", "duplicate_share"},
    "ax_sample.avi": {"hard_cut", "cross_fade", "duplicate_share", "blank_share", "exposure_jump"},
    "ax_vp9_square.webm": {"hard_cut", "duplicate_share"},
    "mp_failing_audio.mp4": {"duplicate_share", "frozen_s", "blank_share"},
    "tc_nasa_multistream.mp4": {"hard_cut", "cross_fade", "duplicate_share", "frozen_s", "exposure_jump"},
    "wm_stereo_lr.webm": {
        *("hard_cut", "cross_fade", "duplicate_share", "frozen_s", "blank_share", "exposure_jump", "luminance")
    },
}
