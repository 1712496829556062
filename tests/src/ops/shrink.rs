//! Less of a script, as long as it still fails.

use super::operation::Operation;

/// Returns a list that `fails` and of which no single operation can be left out any more:
/// halves first, then ever smaller parts (delta debugging, Zeller and Hildebrandt 2002).
pub fn shrink(operations: &[Operation], fails: impl Fn(&[Operation]) -> bool) -> Vec<Operation> {
    let mut list = operations.to_vec();
    let mut part = list.len().div_ceil(2);
    while part > 0 {
        let before = list.len();
        let mut start = 0;
        while start < list.len() {
            let end = (start + part).min(list.len());
            let without = [&list[..start], &list[end..]].concat();
            if fails(&without) {
                list = without;
            } else {
                start = end;
            }
        }
        if part == 1 && list.len() == before {
            break;
        }
        part = if part == 1 { 1 } else { part / 2 };
    }
    list
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_needed_stays() {
        let list: Vec<_> = (0..200).map(Operation::Full).collect();
        let needed = [3, 77, 78, 199].map(Operation::Full);
        let fails = |list: &[Operation]| needed.iter().all(|it| list.contains(it));
        assert_eq!(shrink(&list, fails), needed);
        assert_eq!(shrink(&list, |_| true), []);
    }
}
