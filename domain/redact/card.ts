import creditCard from 'validator/lib/isCreditCard.js';
import luhnNumber from 'validator/lib/isLuhnNumber.js';

const SHORTEST = 12;
const LONGEST = 19;

/**
 * Whether digits are the number of a payment card (ISO/IEC 7812): the check digit is right, and the number is one that
 * an issuer gives out or the text around it speaks of cards.
 */
export function isCardNumber(digits: string, speaksOfCards: boolean): boolean {
  if (digits.length < SHORTEST || digits.length > LONGEST) return false;
  return luhnNumber.default(digits) && (speaksOfCards || creditCard.default(digits));
}
