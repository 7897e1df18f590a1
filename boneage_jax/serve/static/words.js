// Ages in words.

export function years(months) {
  const whole = Math.max(Math.round(months), 0);
  return `${Math.floor(whole / 12)} y ${whole % 12} mo`;
}

export function months(value) {
  return `${value.toFixed(1)} months`;
}

export const SEXES = {M: 'boy', F: 'girl'};
