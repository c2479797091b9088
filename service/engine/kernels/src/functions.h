// Exponential, error function and GELU of sixteen floats.
#pragma once

#include "lanes.h"

namespace {

// e^x for x <= 88, within 2 units in the last place; 0 below -87. NaN gives NaN.
template <class Isa>
ALWAYS_INLINE Floats<Isa> exponential(const Floats<Isa>& x) {
    using F = Floats<Isa>;
    const F lowest = F::all(-87.0f);
    const F clamped = x.where_below(lowest, lowest, x);
    const Ints<Isa> power = (clamped * F::all(1.44269504f)).rounded();
    const F whole = power.to_float();
    F rest = whole.times_plus(F::all(-0.693145752f), clamped);
    rest = whole.times_plus(F::all(-1.42860677e-6f), rest);
    F sum = F::all(1.0f / 720);
    for (float coefficient : {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f}) sum = sum.times_plus(rest, F::all(coefficient));
    const F two_to_power = ((power + Ints<Isa>::all(127)) << 23).as_float();
    return x.where_below(lowest, F::all(0.0f), sum * two_to_power);
}

// Error function within 2e-7. Polynomials fitted to erf(x) / x in x^2 up to 1, and to -log(1 - erf(x)) beyond.
template <class Isa>
ALWAYS_INLINE Floats<Isa> error_function(const Floats<Isa>& x) {
    using F = Floats<Isa>;
    const F size = (x.as_int() & Ints<Isa>::all(0x7fffffff)).as_float();
    const F square = size * size;
    F near = F::all(7.889119297e-5f);
    for (float coefficient : {-8.020841051e-4f, 5.189535208e-3f, -2.685444430e-2f, 1.128360033e-1f, -3.761262596e-1f, 1.128379107f})
        near = near.times_plus(square, F::all(coefficient));
    near = near * size;
    const F limit = F::all(4.0f);
    const F bounded = limit.where_below(size, limit, size);
    F far = F::all(2.168685022e-5f);
    for (float coefficient : {-4.413363640e-4f, 4.204561934e-3f, -2.520825714e-2f, 1.084185764e-1f, 6.332198977e-1f, 1.129578471f, -1.880402269e-4f})
        far = far.times_plus(bounded, F::all(coefficient));
    far = F::all(1.0f) - exponential<Isa>(F::all(0.0f) - far);
    const F result = size.where_below(F::all(1.0f), near, far);
    const Ints<Isa> sign = x.as_int() & Ints<Isa>::all(INT32_MIN);
    return (result.as_int() + sign).as_float();
}

// x times the standard normal distribution function of x.
template <class Isa>
ALWAYS_INLINE Floats<Isa> gelu(const Floats<Isa>& x) {
    using F = Floats<Isa>;
    return x * F::all(0.5f) * (F::all(1.0f) + error_function<Isa>(x * F::all(0.707106781f)));
}

}  // namespace
