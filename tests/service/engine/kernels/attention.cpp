// Attention against the same sums in double precision, and the exponential in it.
#include <cmath>

#include "matrix.h"
#include "report.h"

namespace {

struct Setting {
    size_t requests, heads, channels, slots, rows;
};

struct Inputs {
    Inputs(const Setting& setting, Random& random)
        : query(random.normals(setting.rows * (setting.heads * setting.channels + 5))),
          keys(random.normals(setting.requests * setting.heads * setting.slots * setting.channels)), values(random.normals(keys.size())) {
        for (size_t row = 0; row < setting.rows; ++row) {
            const size_t before = read.size();
            for (size_t slot = 0; slot < setting.slots; ++slot)
                if (random.below(3)) read.push_back(static_cast<int32_t>(slot));
            if (read.size() == before) read.push_back(static_cast<int32_t>(random.below(setting.slots)));
            starts.push_back(read.size());
        }
    }

    std::vector<float> query, keys, values;
    std::vector<int32_t> read;
    std::vector<size_t> starts{0};
};

size_t request_of(const Setting& setting, size_t row) { return row * setting.requests / setting.rows; }

std::vector<float> attend(const Kernels& kernels, const Setting& setting, const Inputs& in, float scale) {
    std::vector<float> output(setting.rows * setting.heads * setting.channels);
    const Attention attention{setting.heads,    setting.channels,  setting.slots,   scale,           in.query.data(), setting.heads * setting.channels + 5,
                              in.keys.data(), in.values.data(), in.read.data(), in.starts.data(), output.data()};
    for (size_t head = 0; head < setting.heads; ++head) {
        for (size_t begin = 0, end = 0; begin < setting.rows; begin = end) {
            while (end < setting.rows && request_of(setting, end) == request_of(setting, begin)) ++end;
            size_t longest = 0;
            for (size_t row = begin; row < end; ++row) longest = std::max(longest, in.starts[row + 1] - in.starts[row]);
            const Buffer<float> scratch((longest + 15) / 16 * 16);
            kernels.attend(attention, request_of(setting, begin), head, begin, end, scratch.get());
        }
    }
    return output;
}

void check_setting(const Setting& setting, const AllKernels& kernels, Random& random, Report& report) {
    const Inputs in(setting, random);
    const float scale = random.of({0.125f, 1.0f, 4.0f});
    const size_t width = setting.heads * setting.channels;
    std::vector<double> exact, sizes;
    for (size_t row = 0; row < setting.rows; ++row) {
        for (size_t head = 0; head < setting.heads; ++head) {
            const size_t base = (request_of(setting, row) * setting.heads + head) * setting.slots * setting.channels;
            std::vector<double> scores;
            double peak = -INFINITY, total = 0;
            for (size_t i = in.starts[row]; i < in.starts[row + 1]; ++i) {
                double score = 0;
                for (size_t c = 0; c < setting.channels; ++c)
                    score += static_cast<double>(in.query[row * (width + 5) + head * setting.channels + c]) * in.keys[base + in.read[i] * setting.channels + c];
                scores.push_back(score * scale);
                peak = std::max(peak, score * scale);
            }
            for (double& score : scores) total += score = std::exp(score - peak);
            for (size_t c = 0; c < setting.channels; ++c) {
                double sum = 0;
                for (size_t i = 0; i < scores.size(); ++i) sum += scores[i] / total * in.values[base + in.read[in.starts[row] + i] * setting.channels + c];
                exact.push_back(sum);
            }
        }
    }
    const auto first = attend(*kernels[0], setting, in, scale);
    for (const Kernels* one : kernels) {
        const auto got = attend(*one, setting, in, scale);
        report.expect(difference(got, first) == got.size(), "%s: attention differs from %s", one->title, kernels[0]->title);
        for (size_t i = 0; i < got.size(); ++i)
            report.expect(std::fabs(got[i] - exact[i]) <= 2e-5 * (1 + std::fabs(exact[i])), "%s: attention over %zu slots with %zu channels: %.9g, not %.9g",
                          one->title, setting.slots, setting.channels, got[i], exact[i]);
    }
    // A slot with a NaN reaches those who read it, in its head, and nobody else.
    Inputs broken = in;
    const size_t request = random.below(setting.requests), head = random.below(setting.heads), slot = random.below(setting.slots);
    auto& where = random.below(2) ? broken.keys : broken.values;
    const size_t channel = random.below(setting.channels);
    where[((request * setting.heads + head) * setting.slots + slot) * setting.channels + channel] = NAN;
    for (const Kernels* one : kernels) {
        const auto got = attend(*one, setting, broken, scale);
        for (size_t row = 0; row < setting.rows; ++row) {
            bool reads = false;
            for (size_t i = in.starts[row]; i < in.starts[row + 1]; ++i) reads |= static_cast<size_t>(in.read[i]) == slot;
            for (size_t i = 0; i < width; ++i) {
                const size_t at = row * width + i;
                const bool reached = reads && request_of(setting, row) == request && i / setting.channels == head && (&where == &broken.keys || i % setting.channels == channel);
                report.expect(reached ? std::isnan(got[at]) : same(got[at], first[at]), "%s: a NaN in slot %zu gives %g in row %zu", one->title, slot, got[at], row);
            }
        }
    }
}

// Two slots whose scores are 0 and -x, and whose values are 0 and 1: e^-x / (1 + e^-x).
void check_exponential(const AllKernels& kernels, size_t count, Random& random, Report& report) {
    const Setting setting{1, 1, 1, 2, 1};
    for (size_t i = 0; i < count; ++i) {
        const float x = i == 0 ? 0.0f : i == 1 ? 86.9f : i == 2 ? 88.0f : i == 3 ? 1e30f : std::fabs(random.normal()) * random.of({0.1f, 1.0f, 20.0f});
        Inputs in(setting, random);
        in.query[0] = 1.0f;
        in.keys = {0.0f, -x};
        in.values = {0.0f, 1.0f};
        in.read = {0, 1};
        in.starts = {0, 2};
        const double exact = x > 87.0f ? 0.0 : std::exp(-static_cast<double>(x)) / (1 + std::exp(-static_cast<double>(x)));
        for (const Kernels* one : kernels) {
            const float got = attend(*one, setting, in, 1.0f)[0];
            report.expect(std::fabs(got - exact) <= 4e-7 * exact, "%s: e^-%.9g gives %.9g, not %.9g", one->title, x, got, exact);
        }
    }
}

// Scores that are not finite make their row NaN, as a row does that reads nothing.
void check_not_finite(const AllKernels& kernels, Random& random, Report& report) {
    const Setting setting{1, 1, 1, 20, 2};
    float odd_nan;
    const uint32_t bits = 0x7fc00001;
    std::memcpy(&odd_nan, &bits, sizeof odd_nan);
    for (float query : {NAN, odd_nan, INFINITY, -INFINITY}) {
        Inputs in(setting, random);
        in.query[0] = query;
        for (const Kernels* one : kernels) {
            const auto got = attend(*one, setting, in, 1.0f);
            report.expect(std::isnan(got[0]), "%s: attention of a query that is not finite: %g", one->title, got[0]);
            report.expect(std::isfinite(got[1]), "%s: a query that is not finite reaches another row: %g", one->title, got[1]);
        }
    }
    Inputs in(setting, random);
    in.read.erase(in.read.begin(), in.read.begin() + static_cast<std::ptrdiff_t>(in.starts[1]));
    in.starts = {0, 0, in.read.size()};
    for (const Kernels* one : kernels) {
        const auto got = attend(*one, setting, in, 1.0f);
        report.expect(std::isnan(got[0]) && std::isfinite(got[1]), "%s: a row that reads no slot: %g", one->title, got[0]);
    }
}

}  // namespace

void check_attention(const AllKernels& kernels, size_t rounds, Report& report) {
    Random random(3);
    for (const Setting& setting : {Setting{1, 1, 16, 1, 1}, Setting{2, 3, 32, 20, 7}, Setting{3, 2, 40, 50, 12}, Setting{1, 2, 7, 100, 3}, Setting{2, 2, 64, 128, 4}, Setting{1, 1, 80, 33, 1}, Setting{1, 1, 128, 9, 2}, Setting{1, 1, MAX_HEAD_CHANNELS, 5, 2}})
        check_setting(setting, kernels, random, report);
    check_exponential(kernels, 300 * rounds, random, report);
    check_not_finite(kernels, random, report);
    for (size_t round = 1; round < rounds; ++round) {
        const size_t requests = 1 + random.below(4);
        check_setting({requests, 1 + random.below(3), 1 + random.below(80), 1 + random.below(150), requests + random.below(10)}, kernels, random, report);
    }
}
