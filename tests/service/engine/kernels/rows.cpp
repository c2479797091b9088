// What surrounds a product: layer normalisation before it, GELU and the residual after it. Looked at through products
// with the identity in float, which change nothing.
#include "matrix.h"
#include "reference.h"
#include "report.h"

namespace {

Matrix identity(size_t size) {
    std::vector<float> values(size * size);
    for (size_t i = 0; i < size; ++i) values[i * size + i] = 1.0f;
    return Matrix(size, size, values);
}

void check_norm(const AllKernels& kernels, size_t depth, Random& random, Report& report) {
    const Matrix matrix = identity(depth);
    const std::vector<float> scale = random.normals(depth), shift = random.normals(depth);
    const size_t rows = 9;
    std::vector<float> x;
    for (size_t row = 0; row < rows; ++row) {
        const float size = random.of({1.0f, 1e-3f, 0.0f, 1e-20f, 1e15f}), offset = random.of({0.0f, 0.0f, 1.0f}) * size;
        for (size_t k = 0; k < depth; ++k) x.push_back(random.normal() * size + offset);
    }
    const size_t broken = random.below(rows);
    const Norm norm{scale.data(), shift.data(), 1e-5f};
    const auto first = matrix.multiply(*kernels[0], x, norm);
    std::vector<float> with_nan = x;
    with_nan[broken * depth + random.below(depth)] = random.of({NAN, INFINITY, -INFINITY});
    for (const Kernels* one : kernels) {
        const auto got = matrix.multiply(*one, x, norm), beside_nan = matrix.multiply(*one, with_nan, norm);
        report.expect(difference(got, first) == got.size(), "%s: norm of %zu channels differs from %s", one->title, depth, kernels[0]->title);
        const auto cut = matrix.multiply(*one, x, norm, {}, [&](size_t count) { return random.cuts(count); });
        report.expect(difference(cut, got) == got.size(), "%s: norm of %zu channels differs when cut", one->title, depth);
        for (size_t row = 0; row < rows; ++row) {
            const auto exact = normalise(&x[row * depth], depth, scale.data(), shift.data(), norm.epsilon);
            for (size_t k = 0; k < depth; ++k) {
                const size_t at = row * depth + k;
                report.expect(std::fabs(got[at] - exact[k]) <= 4e-6 * (1 + std::fabs(exact[k])), "%s: norm of %zu channels: %.9g, not %.9g", one->title, depth, got[at], exact[k]);
                if (row == broken) report.expect(std::isnan(beside_nan[at]), "%s: norm of a row that is not finite: %g", one->title, beside_nan[at]);
                else report.expect(same(beside_nan[at], got[at]), "%s: a row's norm depends on a NaN in another row", one->title);
            }
        }
    }
}

// The norm and the quantisation after it, at depths of a model.
void check_norm_before_bytes(const AllKernels& kernels, int bits, Random& random, Report& report) {
    const size_t depth = 1000 + random.below(60), columns = 33, rows = 1 + random.below(30), block = 64, blocks = (depth + 63) / 64;
    std::vector<uint8_t> bytes(columns * blocks * block * bits / 8);
    for (uint8_t& byte : bytes) byte = random.below(256);
    const Matrix matrix(bits, columns, depth, block, bytes, random.normals(columns * blocks, 0.01f));
    const std::vector<float> scale = random.normals(depth), shift = random.normals(depth), bias = random.normals(columns);
    const std::vector<float> x = random.normals(rows * depth, 3.0f), residual = random.normals(rows * columns);
    const Norm norm{scale.data(), shift.data(), 1e-5f};
    const Epilogue epilogue{bias.data(), residual.data(), true};
    const auto first = matrix.multiply(*kernels[0], x, norm, epilogue);
    for (const Kernels* one : kernels) {
        const auto got = matrix.multiply(*one, x, norm, epilogue);
        report.expect(difference(got, first) == got.size(), "%s: norm, product of %d bits and GELU differ from %s", one->title, bits, kernels[0]->title);
    }
}

void check_gelu(const AllKernels& kernels, size_t values, Random& random, Report& report) {
    const size_t depth = 16;
    const Matrix matrix = identity(depth);
    std::vector<float> x = {0.0f, -0.0f, 1e-40f, 1e30f, -1e30f, 3e38f, -10.0f, 10.0f, -5.0f, 5.0f, 1.41421356f, -1.41421356f, 5.656854f, -5.656854f, 6.0f, -6.0f};
    while (x.size() < values * depth) x.push_back(random.normal() * random.of({0.1f, 1.0f, 3.0f}));
    const Epilogue epilogue{nullptr, nullptr, true};
    const auto first = matrix.multiply(*kernels[0], x, {}, epilogue);
    for (const Kernels* one : kernels) {
        const auto got = matrix.multiply(*one, x, {}, epilogue);
        report.expect(difference(got, first) == got.size(), "%s: GELU differs from %s", one->title, kernels[0]->title);
        for (size_t i = 0; i < x.size(); ++i) {
            const double exact = exact_gelu(x[i]);
            report.expect(std::fabs(got[i] - exact) <= 3e-7 * std::fabs(x[i]), "%s: GELU of %.9g is %.9g, not %.9g", one->title, x[i], got[i], exact);
        }
    }
}

// Floats from a 1 x 1 product: what each number that is not finite gives.
void check_not_finite(const AllKernels& kernels, Report& report) {
    const Matrix one_by_one(1, 1, {1.0f});
    const Epilogue gelu{nullptr, nullptr, true};
    float odd_nan;
    const uint32_t bits = 0xffc12345;
    std::memcpy(&odd_nan, &bits, sizeof odd_nan);
    for (const Kernels* one : kernels) {
        const auto plain = one_by_one.multiply(*one, {NAN, INFINITY, -INFINITY, odd_nan, 2.0f});
        report.expect(difference(plain, {NAN, INFINITY, -INFINITY, NAN, 2.0f}) == 5, "%s: numbers that are not finite change in a product of floats", one->title);
        const auto through_gelu = one_by_one.multiply(*one, {NAN, INFINITY, -INFINITY, odd_nan, 0.0f}, {}, gelu);
        report.expect(difference(through_gelu, {NAN, INFINITY, NAN, NAN, 0.0f}) == 5, "%s: GELU of numbers that are not finite: %g %g %g %g", one->title,
                      through_gelu[0], through_gelu[1], through_gelu[2], through_gelu[3]);
        const std::vector<float> residual{NAN, 1.0f, INFINITY, -1.0f};
        const auto sums = one_by_one.multiply(*one, {1.0f, 1.0f, 1.0f, 1.0f}, {}, {nullptr, residual.data(), false});
        report.expect(difference(sums, {NAN, 2.0f, INFINITY, 0.0f}) == 4, "%s: a residual that is not finite reaches another row", one->title);
    }
}

}  // namespace

void check_rows(const AllKernels& kernels, size_t rounds, Report& report) {
    Random random(2);
    for (size_t depth : {1, 2, 15, 16, 17, 31, 64, 100, 333}) check_norm(kernels, depth, random, report);
    for (int bits : {8, 4}) check_norm_before_bytes(kernels, bits, random, report);
    check_gelu(kernels, 500 * rounds, random, report);
    check_not_finite(kernels, report);
    for (size_t round = 1; round < rounds; ++round) {
        check_norm(kernels, 1 + random.below(200), random, report);
        check_norm_before_bytes(kernels, random.of({8, 4}), random, report);
    }
}
