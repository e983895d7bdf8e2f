//! Applicability rules of no meaning but of the right form and of any length: documents must be as long as real ones.

use std::fmt::Write as _;

use crate::random::Choices;

const BAR: &str = r#"xmlns:bar="http://schemas.microsoft.com/msus/2002/12/BaseApplicabilityRules""#;

const KEYS: &[&str] = &[
    r"SOFTWARE\Microsoft\Windows NT\CurrentVersion",
    r"SOFTWARE\Microsoft\Windows\CurrentVersion\Component Based Servicing\Version",
    r"SOFTWARE\Microsoft\Windows Defender\Signature Updates",
    r"SOFTWARE\Microsoft\Office\16.0\Common\InstallRoot",
    r"SYSTEM\CurrentControlSet\Control\Session Manager",
    r"SOFTWARE\Microsoft\NET Framework Setup\NDP\v4\Full",
];

const VALUES: &[&str] = &["CurrentBuild", "SignatureType", "Release", "InstallState", "EditionID", "UBR", "Version"];

const COMPARISONS: &[&str] = &["EqualTo", "GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"];

/// One rule.
fn rule(choice: &mut Choices, out: &mut String) {
    let key = choice.one(KEYS).copied().unwrap_or_default();
    let value = choice.one(VALUES).copied().unwrap_or_default();
    let comparison = choice.one(COMPARISONS).copied().unwrap_or_default();
    let (number, build) = (choice.below(30_000), choice.below(9_000));
    // Writing to a string does not fail.
    let _ = match choice.below(5) {
        0 => write!(
            out,
            r#"<bar:RegDword Key="HKEY_LOCAL_MACHINE" Subkey="{key}" Value="{value}" Comparison="{comparison}" Data="{number}" {BAR} />"#
        ),
        1 => write!(
            out,
            r#"<bar:FileVersionPrependRegSz Path="module{}.dll" Comparison="{comparison}" Version="10.0.{number}.{build}" Key="HKEY_LOCAL_MACHINE" Subkey="{key}" Value="{value}" {BAR} />"#,
            number % 97
        ),
        2 => write!(
            out,
            r#"<lar:Not><bar:RegValueExists Key="HKEY_LOCAL_MACHINE" Subkey="{key}" Value="{value}" Type="REG_BINARY" {BAR} /></lar:Not>"#
        ),
        3 => write!(
            out,
            r#"<bar:WindowsVersion Comparison="{comparison}" MajorVersion="10" MinorVersion="0" BuildNumber="{number}" ProductType="1" {BAR} />"#
        ),
        _ => write!(
            out,
            r#"<bar:RegSz Key="HKEY_LOCAL_MACHINE" Subkey="{key}" Value="{value}" Comparison="{comparison}" Data="R&amp;D {number} &lt;{build}&gt;" {BAR} />"#
        ),
    };
}

/// An expression: rules under And, Or and Not until it is `length` bytes long, at least one.
pub(crate) fn expression(choice: &mut Choices, length: usize, out: &mut String) {
    let end = out.len() + length;
    out.push_str(r#"<lar:And xmlns:lar="http://schemas.microsoft.com/msus/2002/12/LogicalApplicabilityRules">"#);
    loop {
        match choice.below(4) {
            0 => {
                out.push_str("<lar:Or>");
                rule(choice, out);
                rule(choice, out);
                out.push_str("</lar:Or>");
            }
            _ => rule(choice, out),
        }
        if out.len() >= end {
            break;
        }
    }
    out.push_str("</lar:And>");
}

/// The manifest of a package, which real cumulative updates carry among their rules: `length` bytes of it.
pub(crate) fn manifest(choice: &mut Choices, length: usize, out: &mut String) {
    let end = out.len() + length;
    out.push_str(concat!(
        r#"<cbsar:CbsPackageApplicabilityMetadata xmlns:cbsar="http://schemas.microsoft.com/msus/2002/12/CbsApplicabilityRules">"#,
        r#"<assembly xmlns="urn:schemas-microsoft-com:asm.v3" manifestVersion="1.0" copyright="Simulated">"#,
        r#"<package identifier="KB" applicabilityEvaluation="deep" releaseType="Security Update"><parent buildCompare="EQ">"#
    ));
    while out.len() < end {
        let (one, two, three) = (choice.below(900), choice.next(), choice.below(9_000));
        // Writing to a string does not fail.
        let _ = write!(
            out,
            r#"<assemblyIdentity name="Simulated-Package-{one}-{two:016x}" version="10.0.26100.{three}" processorArchitecture="amd64" language="neutral" publicKeyToken="31bf3856ad364e35" />"#
        );
    }
    out.push_str("</parent></package></assembly></cbsar:CbsPackageApplicabilityMetadata>");
}
