// The one thing that takes time: products of matrices, four numbers (float32) or two (float64) at once.
// AssemblyScript; `npm run kernel` makes kernel.wasm of it. Where that cannot run, engine.js has the same in plain loops.

// @ts-ignore: decorator
@inline
function block<T extends number>(
  a: usize, si: i32, sp: i32, b: usize, c: usize, n: i32, k: i32, start: usize,
): void {
  // four rows and two vectors of columns: eight sums that stay in registers
  const size = sizeof<T>();
  let s00: v128, s01: v128, s10: v128, s11: v128, s20: v128, s21: v128, s30: v128, s31: v128;
  s00 = start ? v128.load(start) : v128.splat<T>(0 as T);
  s01 = start ? v128.load(start, 16) : v128.splat<T>(0 as T);
  s10 = s00; s20 = s00; s30 = s00; s11 = s01; s21 = s01; s31 = s01;
  const i1 = <usize>si * size, i2 = i1 + i1, i3 = i2 + i1, p1 = <usize>sp * size, row = <usize>n * size;
  for (let p = 0; p < k; p++) {
    const b0 = v128.load(b), b1 = v128.load(b, 16);
    let x = v128.splat<T>(load<T>(a));
    s00 = v128.add<T>(s00, v128.mul<T>(x, b0)); s01 = v128.add<T>(s01, v128.mul<T>(x, b1));
    x = v128.splat<T>(load<T>(a + i1));
    s10 = v128.add<T>(s10, v128.mul<T>(x, b0)); s11 = v128.add<T>(s11, v128.mul<T>(x, b1));
    x = v128.splat<T>(load<T>(a + i2));
    s20 = v128.add<T>(s20, v128.mul<T>(x, b0)); s21 = v128.add<T>(s21, v128.mul<T>(x, b1));
    x = v128.splat<T>(load<T>(a + i3));
    s30 = v128.add<T>(s30, v128.mul<T>(x, b0)); s31 = v128.add<T>(s31, v128.mul<T>(x, b1));
    a += p1; b += row;
  }
  v128.store(c, s00); v128.store(c, s01, 16); c += row;
  v128.store(c, s10); v128.store(c, s11, 16); c += row;
  v128.store(c, s20); v128.store(c, s21, 16); c += row;
  v128.store(c, s30); v128.store(c, s31, 16);
}

// @ts-ignore: decorator
@inline
function one<T extends number>(a: usize, sp: i32, b: usize, n: i32, k: i32, start: usize): T {
  const size = sizeof<T>();
  let sum: T = start ? load<T>(start) : (0 as T);
  for (let p = 0; p < k; p++) {
    sum += load<T>(a) * load<T>(b);
    a += <usize>sp * size; b += <usize>n * size;
  }
  return sum;
}

// @ts-ignore: decorator
@inline
function product<T extends number>(
  a: usize, si: i32, sp: i32, b: usize, c: usize, m: i32, n: i32, k: i32, start: usize,
): void {
  const size = sizeof<T>();
  const wide: i32 = 32 / <i32>size;
  for (let i = 0; i < m; i += 4) {
    const rows = min(4, m - i);
    let j = 0;
    if (rows == 4) for (; j + wide <= n; j += wide) {
      block<T>(
        a + <usize>(i * si) * size, si, sp, b + <usize>j * size, c + <usize>(i * n + j) * size, n, k,
        start ? start + <usize>j * size : 0,
      );
    }
    for (let r = i; r < i + rows; r++) for (let q = j; q < n; q++) {
      store<T>(
        c + <usize>(r * n + q) * size,
        one<T>(a + <usize>(r * si) * size, sp, b + <usize>q * size, n, k, start ? start + <usize>q * size : 0),
      );
    }
  }
}

// c[i, j] = start[j] + the sum over p < k of a[i * si + p * sp] * b[p * n + j], for i < m and j < n; start may be 0.
export function product32(
  a: usize, si: i32, sp: i32, b: usize, c: usize, m: i32, n: i32, k: i32, start: usize,
): void {
  product<f32>(a, si, sp, b, c, m, n, k, start);
}

export function product64(
  a: usize, si: i32, sp: i32, b: usize, c: usize, m: i32, n: i32, k: i32, start: usize,
): void {
  product<f64>(a, si, sp, b, c, m, n, k, start);
}
