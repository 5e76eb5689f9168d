//! Zig's standard library at work: a ray tracer writes a picture into /work; JSON is parsed, sorted and hashed; errors carry on.
const std = @import("std");

const Vec = @Vector(3, f64);

const Sphere = struct { at: Vec, radius: f64, colour: Vec, mirror: f64 };
const World = struct { spheres: []const Sphere, light: [3]f64 };

const Error = error{ TooDeep, OutOfRange };

fn dot(a: Vec, b: Vec) f64 {
    return @reduce(.Add, a * b);
}

fn unit(a: Vec) Vec {
    return a / @as(Vec, @splat(@sqrt(dot(a, a))));
}

fn scale(a: Vec, k: f64) Vec {
    return a * @as(Vec, @splat(k));
}

fn hit(s: Sphere, from: Vec, dir: Vec) ?f64 {
    const to = s.at - from;
    const along = dot(to, dir);
    const off = dot(to, to) - along * along;
    if (along < 0 or off > s.radius * s.radius) return null;
    const t = along - @sqrt(s.radius * s.radius - off);
    return if (t > 1e-6) t else null;
}

fn trace(world: []const Sphere, from: Vec, dir: Vec, depth: u32) Error!Vec {
    if (depth > 6) return Error.TooDeep;
    var nearest: ?f64 = null;
    var which: usize = 0;
    for (world, 0..) |s, i| {
        if (hit(s, from, dir)) |t| {
            if (nearest == null or t < nearest.?) {
                nearest = t;
                which = i;
            }
        }
    }
    const t = nearest orelse return Vec{ 0.3, 0.4, 0.6 + 0.3 * dir[1] };
    const s = world[which];
    const point = from + scale(dir, t);
    const normal = unit(point - s.at);
    const light = unit(Vec{ 1, 2, -1.5 });
    var lit = @max(0.1, dot(normal, light));
    for (world) |other| {
        if (hit(other, point, light) != null) lit = 0.1;
    }
    const own = scale(s.colour, lit);
    if (s.mirror == 0) return own;
    const back = trace(world, point, unit(dir - scale(normal, 2 * dot(dir, normal))), depth + 1) catch |e| switch (e) {
        Error.TooDeep => own,
        else => return e,
    };
    return scale(own, 1 - s.mirror) + scale(back, s.mirror);
}

const Entry = struct { name: []const u8, weight: f64, tags: []const []const u8 = &.{} };

fn json(allocator: std.mem.Allocator, out: *std.Io.Writer) !void {
    var text: std.Io.Writer.Allocating = .init(allocator);
    defer text.deinit();
    try text.writer.writeAll("[");
    for (0..2000) |i| {
        if (i > 0) try text.writer.writeAll(",");
        try text.writer.print("{{\"name\":\"m{d}\",\"weight\":{d}.25,\"tags\":[\"a\",\"{x}\"]}}", .{ i, i * 7919 % 997, i });
    }
    try text.writer.writeAll("]");
    const parsed = try std.json.parseFromSlice([]Entry, allocator, text.written(), .{});
    defer parsed.deinit();
    std.mem.sort(Entry, parsed.value, {}, struct {
        fn less(_: void, a: Entry, b: Entry) bool {
            return if (a.weight != b.weight) a.weight < b.weight else std.mem.lessThan(u8, a.name, b.name);
        }
    }.less);
    var counts = std.StringHashMap(u32).init(allocator);
    defer counts.deinit();
    var sum: f64 = 0;
    for (parsed.value) |e| {
        sum += e.weight;
        for (e.tags) |tag| {
            const slot = try counts.getOrPut(tag);
            slot.value_ptr.* = if (slot.found_existing) slot.value_ptr.* + 1 else 1;
        }
    }
    try out.print("json {d} entries, first {s}, last {s}, {d:.2}, {d} tags\n", .{
        parsed.value.len, parsed.value[0].name, parsed.value[1999].name, sum, counts.count(),
    });
    var digest: [32]u8 = undefined;
    std.crypto.hash.Blake3.hash(text.written(), &digest, .{});
    try out.print("blake3 {x}\n", .{digest});
    var big = try std.math.big.int.Managed.initSet(allocator, 1);
    defer big.deinit();
    for (2..200) |i| {
        var factor = try std.math.big.int.Managed.initSet(allocator, i);
        defer factor.deinit();
        try big.mul(&big, &factor);
    }
    const digits = try big.toString(allocator, 10, .lower);
    defer allocator.free(digits);
    try out.print("factorial has {d} digits: {s}...\n", .{ digits.len, digits[0..24] });
}

pub fn main() !void {
    var gpa: std.heap.DebugAllocator(.{}) = .init; // tells of leaks
    defer if (gpa.deinit() == .leak) @panic("a leak");
    const allocator = gpa.allocator();
    var buffer: [1024]u8 = undefined;
    var stdout = std.fs.File.stdout().writer(&buffer);
    const out = &stdout.interface;

    const args = try std.process.argsAlloc(allocator);
    defer std.process.argsFree(allocator, args);
    const size: usize = if (args.len > 1) try std.fmt.parseInt(usize, args[1], 10) else 64;

    var world: [12]Sphere = undefined;
    for (&world, 0..) |*s, i| {
        const k: f64 = @floatFromInt(i);
        s.* = .{
            .at = Vec{ @sin(k) * 2.5, @cos(k * 1.7) * 1.5, 6 + @mod(k, 3) },
            .radius = 0.5 + @mod(k, 4) * 0.15,
            .colour = Vec{ @mod(k * 0.37, 1), @mod(k * 0.71, 1), 0.8 },
            .mirror = if (i % 3 == 0) 0.6 else 0,
        };
    }
    const picture = try allocator.alloc(u8, size * size * 3);
    defer allocator.free(picture);
    for (0..size) |y| {
        for (0..size) |x| {
            const fx = @as(f64, @floatFromInt(x)) / @as(f64, @floatFromInt(size)) - 0.5;
            const fy = 0.5 - @as(f64, @floatFromInt(y)) / @as(f64, @floatFromInt(size));
            const colour = try trace(&world, Vec{ 0, 0, -1 }, unit(Vec{ fx, fy, 1 }), 0);
            inline for (0..3) |c| picture[(y * size + x) * 3 + c] = @intFromFloat(@min(255.0, colour[c] * 255.0));
        }
    }
    // the working directory is the first preopened one: /work
    const file = try std.fs.cwd().createFile("picture.ppm", .{});
    defer file.close();
    var small: [64]u8 = undefined;
    try file.writeAll(try std.fmt.bufPrint(&small, "P6 {d} {d} 255\n", .{ size, size }));
    try file.writeAll(picture);
    try out.print("picture {d}x{d} crc {x:0>8}\n", .{ size, size, std.hash.Crc32.hash(picture) });
    try json(allocator, out);
    try out.flush();
}
