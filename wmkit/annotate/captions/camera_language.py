"""Words that tell of the camera's motion: in a caption they leak the trajectory into the text.

A model that is given "the camera pans left" learns to turn by the words and not by the cameras. Two sorts are looked
for: terms of film that mean nothing else ("tracking shot", "zooms in"), and a camera, a view or a "we" that moves. What
things in the scene do is left alone, also where it takes the same words (a frying pan left on the stove, a crane).
"""

import re

__all__ = ["camera_phrases"]

WAY = (
    r"(?:to the )?(?:left|right|leftwards?|rightwards?|up|down|upwards?|downwards?|forwards?|backwards?|back|around|"
    r"across|along|over)"
)
EYE = (
    r"(?:cameras?|camera operator|camera[- ]?man|videographer|viewpoint|vantage point|point of view|pov|perspective|"
    r"view|viewer|observer|shot|take|sequence|image|scene|footage|video|clip|frame|gimbal|lens|dashcam|"
    r"drone(?: camera| shot| footage)|we|you)"
)
MOVES = (
    r"(?:pans?|panned|panning|tilts?|tilted|tilting|zooms?|zoomed|zooming|dolly|dollies|dollied|dollying|trucks?|"
    r"trucking|pedestals?|cranes?|craning|booms?|tracks?|tracking|orbits?|orbiting|circles?|circling|rotates?|rotating|"
    r"turns?|turning|swivels?|swivell?ing|spins?|spinning|moves?|moved|moving|glides?|gliding|slides?|sliding|pushes|"
    r"pushing|pulls|pulling|flies|flying|fly|follows?|following|travels?|travell?ing|advances?|advancing|retreats?|"
    r"retreating|rises?|rising|ascends?|ascending|descends?|descending|lowers|lowering|approach|approaches|approaching|"
    r"sweeps?|sweeping|drifts?|drifting|shakes?|shaking|sways?|swaying|swings?|wobbles?|wobbling|arcs?|arcing|passes|"
    r"passing|enters|entering|walks?|walking|strolls?|drives?|driving|rides?|runs?|climbs?|heads?|heading|steps?|"
    r"proceeds?|proceeding|continues|progresses|shifts?|shifting|transitions|settles|comes to rest|backs|closes in|"
    r"widens?|narrows?|changes?|makes its way|goes|make our way|make your way)"
)
ADVERB = r"(?:(?:\w+ly|then|now|and|also|still|is|are|was|keeps?|keeping|starts?|begins?|starting|to|by|as|it|gets?) )"
STILL = r"(?:static|stationary|still|fixed|steady|motionless|locked(?: off| down)?|in motion|handheld|unmoving)"
START = r"(?:^|[.;:!?\n]\s*|,\s*|\bthen\s+|\band\s+|\bbefore\s+|\bslow(?:ly)?\s+)"
THING = (
    r"(?:shop|store|bag|case|strap|body|display|crew|booth|obscura|housing|mount|operator's|lies|sits|hangs|stands|"
    r"rests|belongs|is mounted|is placed|is attached|on|in|that|which|and|or|with|of)"
)

PATTERNS = (
    # whatever "the camera" does: a caption of a scene has no use for it, unless it is a thing in the scene
    rf"\bthe camera(?:'s)?(?: angle)? (?!{THING}\b)\w+(?: \w+)?",
    # a camera, a view or a "we" that moves, with adverbs and the like in between
    rf"\b(?:the |a |our |your )?(?<!security )(?<!surveillance )(?<!speed ){EYE},? {ADVERB}{{0,4}}{MOVES}\b",
    rf"\bthe drone {ADVERB}{{0,3}}{MOVES}\b",
    r"\b(?:we|you) (?:begin|start)s?\b.{0,60}\b(?:make|making) (?:our|your) way\b",
    rf"\bcameras? {ADVERB}{{0,3}}(?:remains?|stays?|holds?|kept|held|is|was) (?:\w+ly )?{STILL}\b",
    r"\b(?:static|stationary|fixed|locked[- ]off|steady|moving|shaky|hand-?held|roving) (?:camera|shot|footage)\b",
    r"\b(?:camera|drone) (?:movements?|motions?|pans?|tilts?|moves?|shake|path|work|fly-?(?:through|over|by))\b",
    r"\b(?:movement|motion|pan|tilt|rotation|sweep) of the camera\b",
    r"\b(?:moves?|moving|pans?|turns?|turning|tilts?|rotates?) (?:the camera|our view|the view|the viewpoint)\b",
    r"\b(?:viewer|viewers|audience) (?:is|are) (?:taken|led|guided|carried|drawn|moved)\b",
    # terms of film
    r"\b(?:tracking|panning|dolly|dollying|trucking|crane|jib|orbit|orbiting|rotating|steadicam|gimbal|push-?in|"
    r"pull-?out|whip|fly-?through|travell?ing|pov walking|zoom|follow) (?:shot|view|sequence|move)s?\b",
    r"\bdolly zoom\b|\bsteadicam\b|\bwhip[- ]pan\b|\bfly-?through\b|\bwalk-?through\b|\bstrafing\b",
    r"\bpush(?:es|ing)?[- ]in (?:on|to|towards?)\b|\bzoom(?:s|ed|ing)?[- ](?:in|out|into)\b",
    r"\b(?:smooth|slow|gentle|steady|quick|rapid|gradual|cinematic) (?:(?:up|down)ward )?(?:glide|tilt|pan|zoom|"
    r"rotation|sweep|descent|ascent|push|pull|orbit|arc|turn)\b",
    r"\b\d+[- ]degrees? (?:rotation|turn|pan|orbit|spin|arc)\b",
    rf"\b(?:pans|panning|panned) (?:\w+ly )?(?:{WAY}|out|from|to|towards?|past|through|in)\b",
    rf"{START}(?:pan|tilt|zoom|dolly|truck|orbit|crane|arc|pedestal|roll) (?:\w+ly )?(?:{WAY}|in|out)\b(?! the\b)",
    rf"{START}(?:panning|tilting|zooming|dollying|orbiting|circling|trucking|rotating|turning)\b",
    # a walk through the scene that nobody in it takes
    rf"{START}(?:moving|walking|driving|flying|gliding|travell?ing|strolling|riding|heading|floating|advancing|"
    rf"descending|ascending) (?:\w+ly )?(?:{WAY}|through|past|towards?|into|down|closer)\b(?!.{{0,40}}\b(?:is|are)\b)",
    rf"{START}approaching (?:the|a|an)\b",
    r"\b(?:someone|somebody|a person) (?:walking|driving|riding|moving) (?:through|along|down)\b",
    r"\bthe player (?:\w+ly )?(?:moves|walks|runs|turns|climbs|advances)\b",
    r"\bas (?:we|you|the camera|the view|the viewer|the shot) (?:\w+ly )?\w+",
    r"\b(?:first-person|pov|virtual|captures? a|shows? a) (?:walk|drive|ride|flight|tour|stroll)\b",
    r"\b(?:filmed|recorded|shot|captured|taken) (?:\w+ )?(?:while|(?:from|on|from inside) a (?:moving|vehicle|"
    r"car|train))\b",
    r"\b(?:comes?|coming|came) into (?:view|frame|shot)\b",
    r"\b(?:slides?|drifts?|moves?|glides?) out of (?:view|frame|shot)\b",
    r"\b(?:pulls?|moves?|rises?|tilts?|turns?|lifts?|swings?) (?:\w+ )?to (?:reveal|show)\b",
    r"\b(?:gradually|slowly|progressively) (?:reveal(?:s|ing)?|get(?:s|ting)? (?:closer|larger|smaller))\b",
    r"\b(?:forward|backward|lateral|sideways|upward|downward|rotational|circular) (?:motion|movement|travel)\b",
)
FOUND = tuple(re.compile(pattern, re.IGNORECASE) for pattern in PATTERNS)


def camera_phrases(caption: str) -> tuple[str, ...]:
    """The phrases that tell of the camera's motion, in the order of the text; overlapping ones are one."""
    text = " ".join(caption.replace("’", "'").split())
    spans = sorted(match.span() for pattern in FOUND for match in pattern.finditer(text))
    merged: list[tuple[int, int]] = []
    for first, last in spans:
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(last, merged[-1][1]))
        else:
            merged.append((first, last))
    return tuple(text[first:last].strip(" ,.;:!?") for first, last in merged)
