// Shaders of wmkit/worlds/gl.py. FIND: which parallelogram is nearest. SHADE: colour and depth of every pixel, a
// transcription of wmkit/worlds/raster.py (same formulas, same order, float32).
//// FIND_VERTEX
#version 430
in vec4 in_clip;
in int in_quad;
flat out int quad;
void main() {
    quad = in_quad;
    gl_Position = in_clip;
}
//// FIND
#version 430
layout(std430, binding = 2) readonly buffer Quads { float quads[]; };
uniform int scale;
flat in int quad;
layout(location = 0) out int seen;
void main() {
    vec2 pixel = gl_FragCoord.xy / float(scale);
    int q = quad * 20;
    float w = quads[q + 6] * pixel.x + quads[q + 7] * pixel.y + quads[q + 8];
    seen = quad + 1;
    gl_FragDepth = sqrt(clamp(0.02 * w, 0.0, 1.0));  // the root spends the depth buffer's bits evenly on far and near
}
//// SHADE_VERTEX
#version 430
void main() {
    gl_Position = vec4(gl_VertexID == 1 ? 3.0 : -1.0, gl_VertexID == 2 ? 3.0 : -1.0, 0.0, 1.0);
}
//// SHADE
#version 430
layout(std430, binding = 0) readonly buffer Texels { uint texels[]; };
layout(std430, binding = 1) readonly buffer Levels { ivec4 levels[]; };  // offset, width, height
layout(std430, binding = 2) readonly buffer Quads { float quads[]; };
uniform isampler2D seen;
uniform isampler2D seen_twice;
uniform int max_levels;
uniform ivec2 size;
layout(location = 0) out vec4 colour;
layout(location = 1) out float depth;

vec3 texel(int at) {
    uint packed_rgb = texels[at];
    return vec3(packed_rgb & 255u, (packed_rgb >> 8) & 255u, (packed_rgb >> 16) & 255u);
}

vec3 bilinear(int texture_index, vec2 uv, int level) {
    ivec4 entry = levels[texture_index * max_levels + level];
    vec2 at = clamp(uv * exp2(-float(level)) - 0.5, vec2(0.0), vec2(entry.yz) - 1.0);
    ivec2 first = ivec2(at);
    vec2 part = at - vec2(first);
    int right = first.x < entry.y - 1 ? 1 : 0;
    int below = first.y < entry.z - 1 ? entry.y : 0;
    int start = entry.x + first.y * entry.y + first.x;
    vec3 top = mix(texel(start), texel(start + right), part.x);
    vec3 bottom = mix(texel(start + below), texel(start + below + right), part.x);
    return mix(top, bottom, part.y);
}

vec3 trilinear(int texture_index, vec2 uv, float level) {
    int lower = int(level);
    float between = level - float(lower);
    vec3 fine = bilinear(texture_index, uv, lower);
    return between > 0.0 ? mix(fine, bilinear(texture_index, uv, lower + 1), between) : fine;
}

vec3 shade(int quad, vec2 pixel) {
    int q = quad * 20;
    vec3 s_row = vec3(quads[q], quads[q + 1], quads[q + 2]);
    vec3 t_row = vec3(quads[q + 3], quads[q + 4], quads[q + 5]);
    vec3 w_row = vec3(quads[q + 6], quads[q + 7], quads[q + 8]);
    vec2 start = vec2(quads[q + 12], quads[q + 13]);
    vec2 span = vec2(quads[q + 14], quads[q + 15]);
    vec3 gain = vec3(quads[q + 16], quads[q + 17], quads[q + 18]);
    int texture_index = int(quads[q + 9]);
    float last_level = quads[q + 10] - 1.0;

    vec3 p = vec3(pixel, 1.0);
    float z = 1.0 / dot(w_row, p);
    vec2 st = vec2(dot(s_row, p), dot(t_row, p)) * z;
    vec2 along_x = (vec2(s_row.x, t_row.x) - st * w_row.x) * span * z;
    vec2 along_y = (vec2(s_row.y, t_row.y) - st * w_row.y) * span * z;
    vec2 uv = start + st * span;

    vec2 longer = dot(along_x, along_x) >= dot(along_y, along_y) ? along_x : along_y;
    float major = length(longer) + 1e-12;
    float minor = abs(along_x.x * along_y.y - along_y.x * along_x.y) / major;
    float ratio = major / (minor + 1e-12);
    int taps = ratio <= 1.5 ? 1 : ratio <= 3.0 ? 2 : ratio <= 6.0 ? 4 : 8;
    float level = clamp(log2(max(max(major / float(taps), minor), 1e-6)), 0.0, last_level);
    vec3 total = vec3(0.0);
    for (int tap = 0; tap < taps; tap++) {
        float shift = (float(tap) + 0.5) / float(taps) - 0.5;
        total += trilinear(texture_index, uv + shift * longer, level);
    }
    return clamp(total / float(taps) * gain, 0.0, 255.0);
}

int seen_at(ivec2 pixel) {
    return texelFetch(seen, clamp(pixel, ivec2(0), size - 1), 0).r;
}

void main() {
    ivec2 pixel = ivec2(gl_FragCoord.xy);
    int here = seen_at(pixel);
    bool edge = here != seen_at(pixel + ivec2(1, 0)) || here != seen_at(pixel - ivec2(1, 0)) ||
                here != seen_at(pixel + ivec2(0, 1)) || here != seen_at(pixel - ivec2(0, 1));
    vec3 rgb = vec3(0.0);
    if (edge) {
        for (int sub = 0; sub < 4; sub++) {
            ivec2 offset = ivec2(sub & 1, sub >> 1);
            int quad = texelFetch(seen_twice, pixel * 2 + offset, 0).r;
            if (quad > 0) rgb += 0.25 * shade(quad - 1, vec2(pixel) + 0.25 + 0.5 * vec2(offset));
        }
    } else if (here > 0) {
        rgb = shade(here - 1, vec2(pixel) + 0.5);
    }
    colour = vec4(rgb / 255.0, 1.0);
    depth = 0.0;
    if (here > 0) {
        int q = (here - 1) * 20;
        depth = 1.0 / dot(vec3(quads[q + 6], quads[q + 7], quads[q + 8]), vec3(vec2(pixel) + 0.5, 1.0));
    }
}
