//! The request identifier from outside: its text, its damage, its way through a fleet.

use proptest::prelude::*;
use selvedge_identity::{
    DEPTH_MAX, IdentifierError, Interaction, Origin, RequestIdentifier, STACK_MAX, Shape, StackId,
};

fn origins() -> impl Strategy<Value = Origin> {
    any::<[u8; 16]>().prop_map(Origin::from_random)
}

fn interactions() -> impl Strategy<Value = Interaction> {
    any::<[u8; 8]>().prop_map(Interaction::from_random)
}

fn shapes() -> impl Strategy<Value = Shape> {
    (1..=STACK_MAX as u8, 1..=8_u8, 1..4_u32).prop_map(|(k, width, depth_increment)| Shape {
        k,
        width,
        depth_increment,
    })
}

fn stack_ids() -> impl Strategy<Value = StackId> {
    (any::<[u8; 8]>(), 1..=8_usize)
        .prop_map(|(bytes, width)| StackId::new(&bytes[..width]).unwrap())
}

fn stacks() -> impl Strategy<Value = Vec<StackId>> {
    let mixed = || prop::collection::vec(stack_ids(), 1..=STACK_MAX);
    prop_oneof![
        mixed(),
        // One width for all, as nearly every real one has.
        (mixed(), 1..=8_u8).prop_map(|(ids, width)| {
            let whole = |id: StackId| StackId::from(Interaction::from_random(padded(id)));
            ids.into_iter().map(|id| whole(id).cut(width)).collect()
        }),
    ]
}

fn padded(id: StackId) -> [u8; 8] {
    id.to_bits().to_be_bytes()
}

fn identifiers() -> impl Strategy<Value = RequestIdentifier> {
    let depths = (0..=DEPTH_MAX, 0..30_u32).prop_map(|(depth, shift)| depth >> shift);
    (origins(), depths, stacks(), 0..STACK_MAX).prop_map(|(origin, depth, stack, spare)| {
        let k = (stack.len() + spare).min(STACK_MAX) as u8;
        RequestIdentifier::from_parts(origin, depth, k, &stack).unwrap()
    })
}

/// The text with a right check, made by other means than the crate's.
fn with_check(body: &str) -> String {
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let crc = crc32c::crc32c(body.as_bytes());
    let check: String = [18, 12, 6, 0]
        .iter()
        .map(|shift| char::from(alphabet[(crc >> shift & 63) as usize]))
        .collect();
    format!("{body}.{check}")
}

proptest! {
    #[test]
    fn what_is_written_reads_back(id in identifiers()) {
        let text = id.encode();
        prop_assert_eq!(RequestIdentifier::parse(text.as_bytes()), Ok(id));
    }

    /// Texts near valid ones, with a check that holds: what is read at all has one text only.
    #[test]
    fn whatever_reads_is_written_back_the_same(
        id in identifiers(),
        at in any::<prop::sample::Index>(),
        change in "[A-Za-h0-9._-]{0,2}",
        cut in 0..2_usize,
    ) {
        let text = id.encode();
        let mut body = text.rsplit_once('.').unwrap().0.to_string();
        let at = at.index(body.len());
        body.replace_range(at..(at + cut).min(body.len()), &change);
        let text = with_check(&body);
        if let Ok(id) = RequestIdentifier::parse(text.as_bytes()) {
            let again = id.encode();
            prop_assert_eq!(again.as_str(), text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = RequestIdentifier::parse(&bytes);
        let _ = RequestIdentifier::parse_correcting(&bytes);
    }

    #[test]
    fn one_damaged_byte_anywhere_is_refused(id in identifiers(), damage in 1..=255_u8) {
        let mut text = id.encode().as_bytes().to_vec();
        for at in 0..text.len() {
            text[at] ^= damage;
            prop_assert!(RequestIdentifier::parse(&text).is_err(), "byte {at}");
            text[at] ^= damage;
        }
    }

    /// A service with the smallest and one with the greatest stack, in any order: what the crate
    /// does is what lists of bytes do.
    #[test]
    fn a_way_through_a_mixed_fleet_is_that_of_the_model(
        origin in origins(),
        first in interactions(),
        first_shape in shapes(),
        way in prop::collection::vec((interactions(), shapes()), 0..40),
    ) {
        let mut id = RequestIdentifier::root(origin, first, first_shape);
        let mut depth = 0;
        let mut model = vec![first.as_bytes()[..usize::from(first_shape.width)].to_vec()];
        for (own, shape) in way {
            let header = id.encode();
            id = RequestIdentifier::parse(header.as_bytes()).unwrap().advance(own, shape);

            while model.len() > usize::from(shape.k) - 1 {
                model.remove(0);
            }
            for older in &mut model {
                older.truncate(usize::from(shape.width));
            }
            model.push(own.as_bytes()[..usize::from(shape.width)].to_vec());
            depth += shape.depth_increment;

            let stack: Vec<Vec<u8>> = id.stack().iter().map(|i| i.as_bytes().to_vec()).collect();
            prop_assert_eq!(&stack, &model);
            prop_assert_eq!((id.origin(), id.depth(), id.k()), (origin, depth, shape.k));
            prop_assert!(id.own().matches(&own.into()));
        }
    }

    #[test]
    fn one_shape_everywhere_keeps_the_newest_k(
        origin in origins(),
        way in prop::collection::vec(interactions(), 1..40),
        shape in shapes(),
    ) {
        let mut id = RequestIdentifier::root(origin, way[0], shape);
        for own in &way[1..] {
            id = id.advance(*own, shape);
        }
        let newest = &way[way.len().saturating_sub(usize::from(shape.k))..];
        let newest: Vec<StackId> = newest.iter().map(|i| StackId::of(*i, shape.width)).collect();
        prop_assert_eq!(id.stack(), &newest[..]);
    }

    #[test]
    fn ids_match_exactly_where_one_is_a_prefix_of_the_other(a in stack_ids(), b in stack_ids()) {
        let model = |a: &StackId, b: &StackId| {
            a.as_bytes().starts_with(b.as_bytes()) || b.as_bytes().starts_with(a.as_bytes())
        };
        for (a, b) in [(a, b), (a, a.cut(b.width())), (b.cut(1), b)] {
            prop_assert_eq!(a.matches(&b), model(&a, &b));
            prop_assert_eq!(b.matches(&a), model(&a, &b));
        }
    }

    /// A repaired text is the one that was sent; in the rare other case there were two candidates
    /// and it is refused, never taken for another.
    #[test]
    fn one_damaged_character_is_repaired_or_refused(
        id in identifiers(),
        at in any::<prop::sample::Index>(),
        damage in 1..=255_u8,
    ) {
        let mut text = id.encode().as_bytes().to_vec();
        prop_assert_eq!(RequestIdentifier::parse_correcting(&text), Ok((id.clone(), false)));
        let at = at.index(text.len());
        text[at] ^= damage;
        if let Ok(repaired) = RequestIdentifier::parse_correcting(&text) {
            prop_assert_eq!(repaired, (id, true));
        }
    }
}

fn example() -> RequestIdentifier {
    let shape = Shape::default();
    let interaction =
        |n: u8| Interaction::from_random([n, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77]);
    let mut id = RequestIdentifier::root(
        Origin::new(0x0192_8f5a_6b7c, [9; 10]),
        interaction(1),
        shape,
    );
    for n in 2..=6 {
        id = id.advance(interaction(n), shape);
    }
    id
}

#[test]
fn a_default_identifier_is_about_a_hundred_bytes_with_its_name() {
    let text = example().encode();
    assert_eq!("selvedge-request: ".len() + text.len(), 96);
}

#[test]
fn every_damage_of_every_byte_of_an_identifier_is_refused() {
    let mut text = example().encode().as_bytes().to_vec();
    for at in 0..text.len() {
        for damage in 1..=255 {
            text[at] ^= damage;
            assert!(RequestIdentifier::parse(&text).is_err());
            text[at] ^= damage;
        }
    }
}

#[test]
fn nearly_every_damaged_character_of_an_identifier_is_repaired() {
    let id = example();
    let mut text = id.encode().as_bytes().to_vec();
    let (mut repaired, mut refused) = (0, 0);
    for at in 0..text.len() {
        for damage in (1..=255).step_by(14) {
            text[at] ^= damage;
            match RequestIdentifier::parse_correcting(&text) {
                Ok(found) => {
                    assert_eq!(found, (id.clone(), true));
                    repaired += 1;
                }
                Err(_) => refused += 1,
            }
            text[at] ^= damage;
        }
    }
    assert!(refused * 200 < repaired, "{refused} of {repaired}");
}

#[test]
fn faults_are_told_apart() {
    use IdentifierError::{Damaged, Malformed, Oversized, UnknownVersion};
    let parse = |text: &str| RequestIdentifier::parse(text.as_bytes()).unwrap_err();
    assert_eq!(parse(""), Malformed);
    assert_eq!(parse("1."), Malformed);
    assert_eq!(parse("hello"), Malformed);
    assert_eq!(parse("2.4.6.F.whatever"), UnknownVersion);
    assert_eq!(parse(&"1".repeat(257)), Oversized);
    let text = example().encode();
    assert_eq!(parse(&text[..text.len() - 1]), Malformed);
    assert_eq!(parse(&text.replace(".6.", ".7.")), Damaged);
}

#[test]
fn what_has_a_right_check_but_another_form_is_refused() {
    let text = example().encode();
    let body = text.rsplit_once('.').unwrap().0;
    assert_eq!(with_check(body), text.as_str());
    let [_, widths, k, depth, origin, stack] = body.split('.').collect::<Vec<_>>()[..] else {
        panic!("not of the form");
    };
    assert_eq!((widths, k, depth), ("4", "6", "F"));
    let zero = "0".repeat(32);
    for body in [
        // Widths: none, out of range, one a stack where one would do, too many, too few.
        format!("1..{k}.{depth}.{origin}.{stack}"),
        format!("1.0.{k}.{depth}.{origin}.{stack}"),
        format!("1.9.{k}.{depth}.{origin}.{stack}"),
        format!("1.5.{k}.{depth}.{origin}.{stack}"),
        format!("1.444444.{k}.{depth}.{origin}.{stack}"),
        format!("1.88888888888888888.{k}.{depth}.{origin}.{stack}"),
        format!("1.48.{k}.{depth}.{origin}.{stack}"),
        // k: none, zero, below the stack's length, over the most, with leading zeros.
        format!("1.{widths}..{depth}.{origin}.{stack}"),
        format!("1.{widths}.0.{depth}.{origin}.{stack}"),
        format!("1.{widths}.5.{depth}.{origin}.{stack}"),
        format!("1.{widths}.17.{depth}.{origin}.{stack}"),
        format!("1.{widths}.06.{depth}.{origin}.{stack}"),
        // Depth: none, needless digit, unfinished, too many.
        format!("1.{widths}.{k}..{origin}.{stack}"),
        format!("1.{widths}.{k}.lA.{origin}.{stack}"),
        format!("1.{widths}.{k}.l.{origin}.{stack}"),
        format!("1.{widths}.{k}.llllllB.{origin}.{stack}"),
        // Origin: upper case, zero, short.
        format!("1.{widths}.{k}.{depth}.{}.{stack}", origin.to_uppercase()),
        format!("1.{widths}.{k}.{depth}.{zero}.{stack}"),
        format!("1.{widths}.{k}.{depth}.{}.{stack}", &origin[2..]),
        // Stack: none, padded, odd, of half an id.
        format!("1.{widths}.{k}.{depth}.{origin}."),
        format!("1.{widths}.{k}.{depth}.{origin}.{stack}="),
        format!("1.{widths}.{k}.{depth}.{origin}.{}", &stack[1..]),
        format!("1.{widths}.{k}.{depth}.{origin}.{}", &stack[..28]),
        format!("1.{widths}.{k}.{depth}.{origin}.{stack}.more"),
        format!("1.{widths}.{k}.{depth}.{origin}"),
    ] {
        let text = with_check(&body);
        let fault = RequestIdentifier::parse(text.as_bytes());
        assert_eq!(fault, Err(IdentifierError::Malformed), "{text}");
    }
}

#[test]
fn the_depth_stops_at_the_greatest() {
    let own = Interaction::from_random([1; 8]);
    let stack = [StackId::from(own)];
    let deepest =
        RequestIdentifier::from_parts(Origin::new(1, [1; 10]), DEPTH_MAX - 1, 1, &stack).unwrap();
    for depth_increment in [1, 2, u32::MAX] {
        let shape = Shape {
            depth_increment,
            ..Shape::default()
        };
        let id = deepest.advance(own, shape);
        assert_eq!(id.depth(), DEPTH_MAX);
        assert_eq!(RequestIdentifier::parse(id.encode().as_bytes()), Ok(id));
    }
}

#[test]
fn the_longest_identifier_fits() {
    let id = StackId::from(Interaction::from_random([0xff; 8]));
    let mut stack = [id; STACK_MAX];
    stack[0] = id.cut(7);
    let longest =
        RequestIdentifier::from_parts(Origin::new(u64::MAX, [0xff; 10]), DEPTH_MAX, 16, &stack);
    let longest = longest.unwrap();
    let text = longest.encode();
    assert!(text.len() <= RequestIdentifier::TEXT_MAX);
    assert_eq!(RequestIdentifier::parse(text.as_bytes()), Ok(longest));
}

#[test]
fn a_shape_out_of_range_is_brought_into_it() {
    let own = Interaction::from_random([1; 8]);
    for (k, width) in [(0, 0), (255, 255)] {
        let shape = Shape {
            k,
            width,
            depth_increment: 1,
        };
        let id = RequestIdentifier::root(Origin::new(1, [1; 10]), own, shape).advance(own, shape);
        assert_eq!(RequestIdentifier::parse(id.encode().as_bytes()), Ok(id));
    }
}
