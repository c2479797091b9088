// Products of every shape and of extreme values: bit for bit what plain integer arithmetic gives, for a row alone and in
// company, in any cut of the work.
#include "matrix.h"
#include "reference.h"
#include "report.h"

namespace {

struct Shape {
    size_t columns, depth, block;
};

constexpr Shape SHAPES[] = {
    {16, 64, 64},  {1, 16, 16},    {5, 1, 16},     {17, 40, 32},   {40, 100, 32}, {33, 256, 256},
    {64, 300, 128}, {100, 65, 64}, {31, 512, 128}, {130, 160, 32}, {48, 1000, 256},
};
constexpr Shape DEEP = {3, 65536, 65536};

enum class Bytes { ANY, LOWEST, HIGHEST, EXTREMES };
enum class Values { NORMAL, EXTREME, MIXED };

struct Case {
    int bits;
    Shape shape;
    size_t rows;
    Bytes bytes;
    Values values;
    bool wild_scales;
};

// Rows of every kind: plain ones, zeros, huge and tiny ones, with subnormal numbers, and with a NaN or an infinity.
std::vector<float> activations(const Case& c, Random& random) {
    std::vector<float> x = random.normals(c.rows * c.shape.depth);
    for (size_t row = 0; row < c.rows; ++row) {
        float* const begin = &x[row * c.shape.depth];
        float* const end = begin + c.shape.depth;
        if (c.values == Values::EXTREME)
            for (float* at = begin; at < end; ++at) *at = row % 2 ? 3.0f : random.of({-2.5f, 2.5f});
        if (c.values != Values::MIXED) continue;
        const float scale = random.of({1.0f, 0.0f, 1e-30f, 1e-36f, 1e-37f, 1e-41f, 1e20f, 3e37f});
        for (float* at = begin; at < end; ++at) *at *= scale;
        float& one = begin[random.below(c.shape.depth)];
        one = random.of({one, one, 0.0f, NAN, INFINITY, -INFINITY, 3e38f, -3e38f, 1e-45f});
    }
    return x;
}

bool is_finite(const float* row, size_t depth) {
    return std::all_of(row, row + depth, [](float value) { return std::isfinite(value); });
}

void check_case(const Case& c, const AllKernels& kernels, Random& random, Report& report) {
    const size_t columns = c.shape.columns, depth = c.shape.depth, block = c.bits == 32 ? depth : c.shape.block;
    const size_t blocks = (depth + block - 1) / block, padded = blocks * block;
    const int zero_point = c.bits == 8 ? 128 : 8;
    std::vector<uint8_t> bytes(c.bits == 32 ? 0 : columns * padded * c.bits / 8);
    for (uint8_t& byte : bytes)
        byte = c.bytes == Bytes::ANY ? random.below(256) : c.bytes == Bytes::LOWEST ? 0 : c.bytes == Bytes::HIGHEST ? 255 : random.of({0, 255});
    std::vector<int> weights;  // [columns, padded]
    for (size_t i = 0; c.bits != 32 && i < columns * padded; ++i)
        weights.push_back((c.bits == 8 ? bytes[i] : bytes[i / 2] >> (i % 2 * 4) & 15) - zero_point);
    std::vector<float> scales = random.normals(columns * blocks, 0.01f), floats = random.normals(c.bits == 32 ? depth * columns : 0, 0.1f);
    if (c.wild_scales)
        for (auto* values : {&scales, &floats})
            for (float& value : *values) value *= random.of({1.0f, 0.0f, 1e-38f, 1e30f});
    const Matrix matrix = c.bits == 32 ? Matrix(columns, depth, floats) : Matrix(c.bits, columns, depth, block, bytes, scales);
    const std::vector<float> x = activations(c, random), bias = random.normals(columns), residual = random.normals(c.rows * columns);
    const Epilogue epilogue{random.below(2) ? bias.data() : nullptr, random.below(2) ? residual.data() : nullptr, false};

    std::vector<float> expected;
    for (size_t row = 0; row < c.rows; ++row) {
        const float* const from = &x[row * depth];
        std::vector<float> sums(columns);
        if (c.bits == 32) {
            for (size_t column = 0; column < columns; ++column)
                for (size_t k = 0; k < depth; ++k) sums[column] = std::fma(floats[k * columns + column], from[k], sums[column]);
        } else {
            const Quantised quantised = quantise(from, depth, block);
            sums = product(quantised, weights, scales, columns, block);
            if (c.values == Values::NORMAL && !c.wild_scales) {
                const size_t column = random.below(columns);
                double exact = 0, bound = 1e-6;
                for (size_t k = 0; k < depth; ++k) {
                    const double weight = weights[column * padded + k] * static_cast<double>(scales[column * blocks + k / block]);
                    exact += weight * from[k];
                    bound += std::fabs(weight) * (0.5001 * quantised.scales[k / block] + 1e-6 * std::fabs(from[k]));
                }
                report.expect(std::fabs(sums[column] - exact) <= bound, "the reference itself is %g off", sums[column] - exact);
            }
        }
        const bool finite = is_finite(from, depth);
        for (size_t column = 0; column < columns; ++column) {
            if (!finite && c.bits != 32) report.expect(std::isnan(sums[column]), "a row that is not finite has a product %g", sums[column]);
            float value = sums[column];
            if (epilogue.bias) value += bias[column];
            if (epilogue.residual) value += residual[row * columns + column];
            expected.push_back(value);
        }
    }

    for (const Kernels* one : kernels) {
        char name[160];
        std::snprintf(name, sizeof name, "%s, %d bits, N %zu, K %zu, block %zu, %zu rows, bytes %d, values %d%s", one->title, c.bits, columns, depth,
                      block, c.rows, static_cast<int>(c.bytes), static_cast<int>(c.values), c.wild_scales ? ", wild scales" : "");
        const auto got = matrix.multiply(*one, x, {}, epilogue);
        const size_t at = difference(got, expected);
        report.expect(at == got.size(), "%s: row %zu column %zu is %.9g, not %.9g", name, at / columns, at % columns, got[at % got.size()], expected[at % got.size()]);
        const auto cut = matrix.multiply(*one, x, {}, epilogue, [&](size_t count) { return random.cuts(count); });
        report.expect(difference(cut, got) == got.size(), "%s: cut in pieces it is another", name);
        const size_t row = random.below(c.rows);
        Epilogue own = epilogue;
        if (own.residual) own.residual += row * columns;
        const auto alone = matrix.multiply(*one, {&x[row * depth], &x[row * depth] + depth}, {}, own);
        report.expect(difference(alone, {&got[row * columns], &got[row * columns] + columns}) == columns, "%s: row %zu is another when alone", name, row);
    }
}

}  // namespace

void check_products(const AllKernels& kernels, size_t rounds, Report& report) {
    Random random(1);
    for (int bits : {8, 4, 32}) {
        for (const Shape& shape : SHAPES)
            for (size_t rows = 1; rows <= (rounds ? 20 : 6); ++rows)
                check_case({bits, shape, rows, Bytes::ANY, random.of({Values::NORMAL, Values::MIXED}), random.below(4) == 0}, kernels, random, report);
        for (const Bytes extreme : {Bytes::LOWEST, Bytes::HIGHEST, Bytes::EXTREMES})
            for (size_t rows : {1, 5, 14}) {
                check_case({bits, SHAPES[10], rows, extreme, Values::EXTREME, false}, kernels, random, report);
                check_case({bits, DEEP, rows, extreme, Values::EXTREME, false}, kernels, random, report);
            }
    }
    for (size_t round = 0; round < 40 * rounds; ++round) {
        const int bits = random.of({8, 4, 32});
        const size_t block = size_t{16} << random.below(5);
        const Shape shape{1 + random.below(100), 1 + random.below(600), block};
        check_case({bits, shape, 1 + random.below(200), Bytes::ANY, random.of({Values::NORMAL, Values::EXTREME, Values::MIXED}), random.below(2) == 0},
                   kernels, random, report);
    }
}
