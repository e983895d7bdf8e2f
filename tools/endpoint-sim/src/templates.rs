//! Requests, in the form of those recorded from Windows Update Agent 1507.2601.30012.0: prefix, order of elements, and what the
//! specification's WSDL calls them.

use std::fmt::Write as _;

use crate::guid::Guid;
use crate::machine::Machine;
use crate::xml::escape;

pub(crate) const AGENT: &str = "Windows-Update-Agent/1507.2601.30012.0 Client-Protocol/2.90";
const CLIENT: &str = "http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService";
const SIMPLE: &str = "http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService";
const REPORT: &str = "http://www.microsoft.com/SoftwareDistribution";
const PROTOCOL: &str = "2.90";

/// A request: where it goes, what its action is, what it says.
pub(crate) struct Call {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) action: String,
    pub(crate) body: String,
}

/// What `GetCookie` gives.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cookie {
    pub(crate) expiration: String,
    pub(crate) data: String,
}

impl Cookie {
    fn parts(&self) -> String {
        let Self { expiration, data } = self;
        format!("<Expiration>{}</Expiration><EncryptedData>{}</EncryptedData>", escape(expiration), escape(data))
    }

    fn element(&self) -> String {
        format!("<cookie>{}</cookie>", self.parts())
    }
}

fn call(method: &'static str, namespace: &str, path: &str, inside: &str) -> Call {
    Call {
        method,
        path: path.to_owned(),
        action: format!("\"{namespace}/{method}\""),
        body: format!(
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><{method} xmlns="{namespace}">{inside}</{method}></s:Body></s:Envelope>"#
        ),
    }
}

fn client(method: &'static str, inside: &str) -> Call {
    call(method, CLIENT, "/ClientWebService/client.asmx", inside)
}

pub(crate) fn get_config() -> Call {
    client("GetConfig", &format!("<protocolVersion>{PROTOCOL}</protocolVersion>"))
}

/// `service` as GetConfig named it, with a group where the machine says its own (client-side targeting).
pub(crate) fn get_authorization_cookie(service: &str, machine: &Machine, group: Option<&str>) -> Call {
    let group = group.map_or_else(String::new, |name| format!("<targetGroupName>{}</targetGroupName>", escape(name)));
    let path = format!("/{}", service.trim_start_matches('/'));
    let inside = format!("<clientId>{}</clientId>{group}<dnsName>{}</dnsName>", machine.id, escape(&machine.name));
    call("GetAuthorizationCookie", SIMPLE, &path, &inside)
}

/// `now` in ISO 8601. A first call says an old cookie of which there is only the time.
pub(crate) fn get_cookie(plug_in: &str, data: &str, old: Option<&Cookie>, changed: &str, now: &str) -> Call {
    let old = old.map_or_else(|| format!("<Expiration>{now}</Expiration>"), Cookie::parts);
    let inside = format!(
        "<authCookies><AuthorizationCookie><PlugInId>{}</PlugInId><CookieData>{}</CookieData></AuthorizationCookie></authCookies><oldCookie>{old}</oldCookie><lastChange>{}</lastChange><currentTime>{now}</currentTime><protocolVersion>{PROTOCOL}</protocolVersion>",
        escape(plug_in),
        escape(data),
        escape(changed)
    );
    client("GetCookie", &inside)
}

pub(crate) fn register_computer(cookie: &Cookie, machine: &Machine) -> Call {
    let [major, minor, build] = machine.windows;
    let (maker, model) = (escape(machine.model.0), escape(machine.model.1));
    let (product, description) = match machine.product_type {
        1 => (48, "Windows 11 Pro"),
        _ => (7, "Windows Server"),
    };
    let inside = format!(
        "{}<computerInfo><DnsName>{}</DnsName><OSMajorVersion>{major}</OSMajorVersion><OSMinorVersion>{minor}</OSMinorVersion><OSBuildNumber>{build}</OSBuildNumber><OSServicePackMajorNumber>0</OSServicePackMajorNumber><OSServicePackMinorNumber>0</OSServicePackMinorNumber><OSLocale>en-US</OSLocale><ComputerManufacturer>{maker}</ComputerManufacturer><ComputerModel>{model}</ComputerModel><BiosVersion>1.{}</BiosVersion><BiosName>Simulated BIOS</BiosName><BiosReleaseDate>2022-02-02T00:00:00Z</BiosReleaseDate><ProcessorArchitecture>AMD64</ProcessorArchitecture><SuiteMask>256</SuiteMask><OldProductType>{}</OldProductType><NewProductType>{product}</NewProductType><SystemMetrics>0</SystemMetrics><ClientVersionMajorNumber>1507</ClientVersionMajorNumber><ClientVersionMinorNumber>2601</ClientVersionMinorNumber><ClientVersionBuildNumber>30012</ClientVersionBuildNumber><ClientVersionQfeNumber>0</ClientVersionQfeNumber><OSDescription>{description}</OSDescription><OEM>{maker}</OEM><DeviceType>{model}</DeviceType><FirmwareVersion>unknown</FirmwareVersion><MobileOperator>Not Present</MobileOperator></computerInfo>",
        cookie.element(),
        escape(&machine.name),
        machine.seed % 40,
        machine.product_type
    );
    client("RegisterComputer", &inside)
}

/// `DeviceAttributes` of a machine that scans against `server`.
fn attributes(machine: &Machine, server: &str) -> String {
    let [major, minor, build] = machine.windows;
    let (installation, product) = if machine.product_type == 1 { ("Client", "WinNT") } else { ("Server", "ServerNT") };
    escape(&format!(
        "App=WU_OS;AppVer=1507.2601.30012.0;AttrDataVer=344;DeviceFamily=Windows.Desktop;DL_OSVersion={major}.{minor}.{build}.1;FlightRing=Retail;InstallationType={installation};InstallLanguage=en-US;OEMModel={};OEMName_Uncleaned={};OSArchitecture=AMD64;OSSkuId=48;OSUILocale=en-US;OSVersion={major}.{minor}.{build}.1;ProductType={product};UpdateManagementGroup=2;UpdateServiceUrl={server};WuClientVer=1451.2601.23012.0;",
        machine.model.1, machine.model.0
    ))
}

const CALLER: &str = "Interactive=0;SheddingAware=1;Id=UpdateOrchestrator;";

fn ints(name: &str, ids: &[i32]) -> String {
    if ids.is_empty() {
        return String::new();
    }
    let mut out = format!("<{name}>");
    for id in ids {
        // Writing to a string does not fail.
        let _ = write!(out, "<int>{id}</int>");
    }
    let _ = write!(out, "</{name}>");
    out
}

/// What SyncUpdates says of the machine's state.
pub(crate) struct Held<'a> {
    pub(crate) installed: &'a [i32],
    pub(crate) other: &'a [i32],
    pub(crate) drivers: &'a [i32],
    /// Whether this is the driver pass.
    pub(crate) driver_pass: bool,
}

pub(crate) fn sync_updates(cookie: &Cookie, machine: &Machine, server: &str, held: &Held<'_>) -> Call {
    let devices = if held.driver_pass {
        let hardware = |at: u64| crate::machine::mixed(&[machine.seed, 21, at]) % 60;
        let device = |at| {
            format!(
                "<Device><HardwareIDs><string>pci\\ven_10de&amp;dev_{:04x}</string></HardwareIDs></Device>",
                hardware(at)
            )
        };
        format!("<SystemSpec>{}{}</SystemSpec>", device(0), device(1))
    } else {
        String::new()
    };
    let inside = format!(
        "{}<parameters><ExpressQuery>false</ExpressQuery>{}{}{devices}{}<SkipSoftwareSync>{}</SkipSoftwareSync><NeedTwoGroupOutOfScopeUpdates>true</NeedTwoGroupOutOfScopeUpdates><AlsoPerformRegularSync>false</AlsoPerformRegularSync><ComputerSpec/><ProductsParameters><SyncCurrentVersionOnly>false</SyncCurrentVersionOnly><DeviceAttributes>{}</DeviceAttributes><CallerAttributes>{CALLER}</CallerAttributes><Products/></ProductsParameters></parameters>",
        cookie.element(),
        ints("InstalledNonLeafUpdateIDs", held.installed),
        ints("OtherCachedUpdateIDs", held.other),
        ints("CachedDriverIDs", held.drivers),
        held.driver_pass,
        attributes(machine, server)
    );
    client("SyncUpdates", &inside)
}

pub(crate) fn get_extended_update_info(cookie: &Cookie, machine: &Machine, server: &str, ids: &[i32]) -> Call {
    let inside = format!(
        "{}{}<infoTypes><XmlUpdateFragmentType>Extended</XmlUpdateFragmentType><XmlUpdateFragmentType>LocalizedProperties</XmlUpdateFragmentType></infoTypes><locales><string>en-US</string><string>en</string></locales><deviceAttributes>{}</deviceAttributes><GeoId>USA</GeoId><callerAttributes>{CALLER}</callerAttributes>",
        cookie.element(),
        ints("revisionIDs", ids),
        attributes(machine, server)
    );
    client("GetExtendedUpdateInfo", &inside)
}

pub(crate) fn get_file_locations(cookie: &Cookie, digests: &[String]) -> Call {
    let mut list = String::new();
    for digest in digests {
        // Writing to a string does not fail.
        let _ = write!(list, "<base64Binary>{digest}</base64Binary>");
    }
    client("GetFileLocations", &format!("{}<fileDigests>{list}</fileDigests>", cookie.element()))
}

pub(crate) fn refresh_cache(cookie: &Cookie, ids: &[(Guid, u32)]) -> Call {
    let mut list = String::new();
    for (id, revision) in ids {
        // Writing to a string does not fail.
        let _ = write!(
            list,
            "<UpdateIdentity><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></UpdateIdentity>"
        );
    }
    client("RefreshCache", &format!("{}<globalIDs>{list}</globalIDs>", cookie.element()))
}

/// An event as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Event {
    /// Its own id, by which a server knows it again.
    pub(crate) instance: Guid,
    pub(crate) number: u32,
    pub(crate) update: Option<(Guid, u32)>,
    pub(crate) result: i32,
    pub(crate) strings: Vec<String>,
    /// `MiscData` beside what every event says.
    pub(crate) misc: Vec<String>,
    /// When, in ISO 8601.
    pub(crate) at: String,
}

pub(crate) fn report_event_batch(cookie: &Cookie, machine: &Machine, now: &str, events: &[Event]) -> Call {
    let mut batch = String::new();
    let [major, minor, build] = machine.windows;
    let strings =
        |all: &[String]| all.iter().fold(String::new(), |out, one| out + "<string>" + &escape(one) + "</string>");
    for event in events {
        let (id, revision) = event.update.unwrap_or_default();
        let mut misc = vec![
            "G=1507.2601.30012.0".to_owned(),
            "J=775".to_owned(),
            "K=unknown".to_owned(),
            "L=2022-02-02T00:00:00".to_owned(),
            "Q=1".to_owned(),
        ];
        misc.extend(event.misc.iter().cloned());
        misc.extend(["AppName=UpdateOrchestrator".to_owned(), "c=48".to_owned()]);
        // Writing to a string does not fail.
        let _ = write!(
            batch,
            "<ReportingEvent><BasicData><TargetID><Sid>{}</Sid></TargetID><SequenceNumber>0</SequenceNumber><TimeAtTarget>{}</TimeAtTarget><EventInstanceID>{}</EventInstanceID><NamespaceID>1</NamespaceID><EventID>{}</EventID><SourceID>101</SourceID><UpdateID><UpdateID>{id}</UpdateID><RevisionNumber>{revision}</RevisionNumber></UpdateID><Win32HResult>{}</Win32HResult><AppName>UpdateOrchestrator</AppName></BasicData><ExtendedData><ReplacementStrings>{}</ReplacementStrings><MiscData>{}</MiscData><ComputerBrand>{}</ComputerBrand><ComputerModel>{}</ComputerModel><BiosRevision>unknown</BiosRevision><ProcessorArchitecture>Amd64Compatible</ProcessorArchitecture><OSVersion><Major>{major}</Major><Minor>{minor}</Minor><Build>{build}</Build><Revision>65792</Revision><ServicePackMajor>0</ServicePackMajor><ServicePackMinor>0</ServicePackMinor></OSVersion><OSLocaleID>1033</OSLocaleID></ExtendedData><PrivateData/></ReportingEvent>",
            machine.id,
            event.at,
            event.instance,
            event.number,
            event.result,
            strings(&event.strings),
            strings(&misc),
            escape(machine.model.0),
            escape(machine.model.1),
        );
    }
    let inside = format!("{}<clientTime>{now}</clientTime><eventBatch>{batch}</eventBatch>", cookie.element());
    call("ReportEventBatch", REPORT, "/ReportingWebService/ReportingWebService.asmx", &inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_requests_are_those_that_were_recorded() {
        let machine = Machine {
            id: Guid::read("e1da06a3-5601-43c9-bac3-52d5db701494").expect("a GUID"),
            name: "REDACTED3".to_owned(),
            ..Machine::new(1)
        };
        let config = get_config();
        assert_eq!(config.body.len(), 234);
        assert_eq!(
            config.action,
            "\"http://www.microsoft.com/SoftwareDistribution/Server/ClientWebService/GetConfig\""
        );
        let simple = get_authorization_cookie("SimpleAuthWebService/SimpleAuth.asmx", &machine, None);
        assert_eq!((simple.path.as_str(), simple.body.len()), ("/SimpleAuthWebService/SimpleAuth.asmx", 310));
        assert_eq!(
            simple.body,
            r#"<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><GetAuthorizationCookie xmlns="http://www.microsoft.com/SoftwareDistribution/Server/SimpleAuthWebService"><clientId>e1da06a3-5601-43c9-bac3-52d5db701494</clientId><dnsName>REDACTED3</dnsName></GetAuthorizationCookie></s:Body></s:Envelope>"#
        );
    }

    #[test]
    fn a_first_sync_has_no_lists_and_all_requests_are_xml() {
        let (machine, cookie) =
            (Machine::new(3), Cookie { expiration: "2026-10-04T16:03:35Z".to_owned(), data: "AA==".to_owned() });
        let none = Held { installed: &[], other: &[], drivers: &[], driver_pass: false };
        let first = sync_updates(&cookie, &machine, "http://127.0.0.1", &none);
        assert!(!first.body.contains("UpdateIDs>") && !first.body.contains("SystemSpec"));
        let pass = Held { installed: &[1, 2], other: &[3], drivers: &[4], driver_pass: true };
        let event = Event {
            instance: machine.id,
            number: 156,
            update: None,
            result: 0,
            strings: vec!["<&>".to_owned()],
            misc: vec!["U=X".to_owned()],
            at: "2026-10-04T15:20:47.397Z".to_owned(),
        };
        let calls = [
            first,
            sync_updates(&cookie, &machine, "http://127.0.0.1", &pass),
            register_computer(&cookie, &machine),
            get_cookie("SimpleTargeting", "AA==", None, "2026-10-04T13:17:07.59Z", "2026-10-04T15:03:36Z"),
            get_extended_update_info(&cookie, &machine, "http://127.0.0.1", &[5]),
            get_file_locations(&cookie, &["AA==".to_owned()]),
            refresh_cache(&cookie, &[(machine.id, 3)]),
            report_event_batch(&cookie, &machine, "2026-10-04T15:20:47.397Z", &[event]),
        ];
        for call in &calls {
            let read = crate::xml::read(&call.body).expect("XML");
            assert!(read.down(&["Envelope", "Body", call.method]).is_some(), "{}", call.method);
        }
        let order = [
            "<ExpressQuery>",
            "<InstalledNonLeafUpdateIDs>",
            "<OtherCachedUpdateIDs>",
            "<SystemSpec>",
            "<CachedDriverIDs>",
            "<SkipSoftwareSync>",
        ];
        let places: Vec<_> = order.iter().map(|name| calls[1].body.find(name).expect("it is there")).collect();
        assert!(places.is_sorted());
    }
}
